"""Stubs of grpc.testing, made from protos/ when this is imported."""

import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

_here = pathlib.Path(__file__).resolve().parent
_out = tempfile.mkdtemp(prefix="interop-stubs-")
_protos = ["grpc/testing/empty.proto", "grpc/testing/messages.proto", "grpc/testing/test.proto"]


def _generate():
    # grpcio is itself the package grpc, so the stubs get a package name of their own.
    flat = pathlib.Path(_out) / "protos" / "interop"
    flat.mkdir(parents=True)
    for name in _protos:
        text = (_here / "protos" / name).read_text().replace("grpc/testing/", "interop/")
        (flat / pathlib.Path(name).name).write_text(text)
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    code = protoc.main([
        "protoc", f"-I{flat.parent}", f"-I{include}", f"--python_out={_out}",
        f"--grpc_python_out={_out}",
        *(f"interop/{pathlib.Path(name).name}" for name in _protos)])
    assert code == 0, "protoc failed"
    sys.path.insert(0, _out)


_generate()

from interop import empty_pb2 as empty  # noqa: E402
from interop import messages_pb2 as messages  # noqa: E402
from interop import test_pb2_grpc as services  # noqa: E402

__all__ = ["empty", "messages", "services"]
