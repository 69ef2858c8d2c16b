"""Pages for people: what a chart is, what a page is, and the page about an evaluation."""
