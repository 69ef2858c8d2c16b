"""Which model files are not run: too large, not whole in themselves, or not by whom we trust."""

from pathlib import Path

import onnx
import pytest
from onnx import helper

from detector.artifact import MANIFEST_KEY
from detector.errors import ArtifactRejected, Refused, SettingsRejected
from detector.graph import check_contents, check_tail
from detector.model import load
from detector.signature import Trust, check_signature, sign

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")


def model(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> bytes:
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph(list(nodes), "g", ports[:1], ports[1:], list(initializers))
    return helper.make_model(graph).SerializeToString()


def outside() -> onnx.TensorProto:
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def inside(*, tensor: onnx.TensorProto | None = None, domain: str = "") -> onnx.NodeProto:
    """A node with a branch that holds a constant, or a node of another domain."""
    constant = helper.make_node("Constant", [], ["y"], value=tensor, domain=domain)
    branch = helper.make_graph([constant], "b", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)


PLAIN = helper.make_node("Identity", ["x"], ["y"])


def test_a_model_of_onnx_alone_passes() -> None:
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    check_contents(model(PLAIN, inside(tensor=tensor), initializers=(tensor,)), Path("m.onnx"))


@pytest.mark.parametrize(
    "content",
    [
        model(PLAIN, initializers=(outside(),)),
        model(inside(tensor=outside())),
        model(PLAIN) + model(PLAIN, initializers=(outside(),)),
    ],
    ids=["initializer", "constant in a branch", "appended"],
)
def test_weights_in_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactRejected, match=r"^m.onnx: expected all weights inside .*; export"):
        check_contents(content, Path("m.onnx"))


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Evil", ["x"], ["y"], domain="com.evil"),
        inside(domain="com.evil"),
    ],
)
def test_operators_of_other_domains_are_refused(node: onnx.NodeProto) -> None:
    with pytest.raises(ArtifactRejected, match=r"saw those of 'com.evil'; .*: export the model"):
        check_contents(model(node), Path("m.onnx"))


def test_graphs_nested_without_an_end_are_refused() -> None:
    content = b""
    for _ in range(40):  # a graph in an attribute of a node of a graph
        for number in (6, 5, 1):
            content = bytes([number << 3 | 2]) + length(content) + content
    content = bytes([7 << 3 | 2]) + length(content) + content
    with pytest.raises(ArtifactRejected, match="nested too deep"):
        check_contents(content, Path("m.onnx"))


def length(content: bytes) -> bytes:
    """As a number of at most 14 bits."""
    return bytes([len(content) & 127 | 128, len(content) >> 7])


def test_what_is_no_protobuf_is_left_to_onnxruntime() -> None:
    for content in (b"not a model", b"\xff" * 20, b"\x3a\x05ab", b""):
        check_contents(content, Path("m.onnx"))


def test_nothing_but_metadata_may_follow_the_graph() -> None:
    graph, added = model(PLAIN), onnx.ModelProto()
    added.metadata_props.add(key=MANIFEST_KEY, value="{}")
    check_tail(graph + added.SerializeToString(), len(graph), Path("m.onnx"))
    with pytest.raises(ArtifactRejected, match="expected nothing but the manifest"):
        check_tail(graph + added.SerializeToString() + graph, len(graph), Path("m.onnx"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x" * 101)
    with pytest.raises(ArtifactRejected, match=r"at most 100 bytes.*DETECTOR_MODEL_MAX_BYTES"):
        load(path, max_bytes=100)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, Trust]:
    """A file with a signature, the private key, and whom to trust."""
    path, key, public = (tmp_path / name for name in ("m.onnx", "key.pem", "public.pem"))
    private = ed25519.Ed25519PrivateKey.generate()
    pem, encoding = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    key.write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(private.public_key().public_bytes(pem, encoding))
    path.write_bytes(model(PLAIN))
    assert sign(path, key) == tmp_path / "m.onnx.sig"
    return path, key, Trust(public, required=True)


def test_a_good_signature_passes(signed: tuple[Path, Path, Trust]) -> None:
    path, _, trust = signed
    check_signature(path.read_bytes(), path, trust)


def test_a_changed_file_or_signature_is_refused_even_if_none_is_required(
    signed: tuple[Path, Path, Trust],
) -> None:
    path, _, trust = signed
    optional = Trust(trust.public_key)
    for content, signature in (
        (path.read_bytes() + b"\0", None),
        (path.read_bytes(), bytes(64)),
        (path.read_bytes(), b""),
    ):
        if signature is not None:
            path.with_name("m.onnx.sig").write_bytes(signature)
        for one in (trust, optional):
            with pytest.raises(ArtifactRejected, match="do not run it before you know which"):
                check_signature(content, path, one)


def test_a_missing_signature_is_refused_where_it_is_required(
    signed: tuple[Path, Path, Trust],
) -> None:
    path, _, trust = signed
    path.with_name("m.onnx.sig").unlink()
    check_signature(path.read_bytes(), path, Trust(trust.public_key))
    with pytest.raises(
        ArtifactRejected, match=r"saw: No such file.*; sign it with `training sign`"
    ):
        check_signature(path.read_bytes(), path, trust)
    with pytest.raises(ArtifactRejected, match="sign it with"):
        load(path, trust=trust)


def test_what_is_no_key_is_refused(signed: tuple[Path, Path, Trust]) -> None:
    path, key, trust = signed
    assert trust.public_key is not None
    with pytest.raises(SettingsRejected, match="expected an Ed25519 private key"):
        sign(path, trust.public_key)
    with pytest.raises(SettingsRejected, match="expected an Ed25519 public key"):
        check_signature(path.read_bytes(), path, Trust(key))


def test_a_tail_that_changes_the_graph_is_refused_at_load(
    small_model: Path, tmp_path: Path
) -> None:
    content = small_model.read_bytes()
    path = tmp_path / "m.onnx"
    added = onnx.ModelProto()
    added.graph.doc_string = "added"
    path.write_bytes(content + added.SerializeToString())
    with pytest.raises(Refused, match="expected nothing but the manifest"):
        load(path)
