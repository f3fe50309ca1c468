"""One captured program through AOTInductor into a package on disk, in a fixed place so that the bytes repeat."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import filelock
import torch
from torch.export import ExportedProgram

from gen3dexport.backends._quiet import quiet
from gen3dexport.backends.aotinductor.host_code import LEVELS, HostCode, host_code
from gen3dexport.backends.aotinductor.inspect_package import CONSTANTS_FILE
from gen3dexport.backends.aotinductor.integer_products import included
from gen3dexport.backends.aotinductor.toolchain import work_folder
from gen3dexport.children import end_those_at
from gen3dexport.errors import ExportError, GenExportError

_NEWER = frozenset({"cpp.march", "aot_inductor.enable_line_tables", "use_static_triton_launcher"})
_OLDER = frozenset({"use_static_cuda_launcher"})
_IN_THIS_PROCESS = threading.Lock()  # the environment, and names that a build without a GPU replaces, are all threads'


@dataclass(frozen=True)
class Compiled:
    """What the compiler made.

    Attributes:
        host: the CPU that the host code needs.
        kernels: number of kernels that it generated.
        operators: ATen operators that it calls -> how many times the code does.
        proxy: operators that it calls through the interpreter, because they have no C entry.
    """

    host: HostCode
    kernels: int
    operators: Mapping[str, int]
    proxy: tuple[str, ...]


def compile_package(program: ExportedProgram, path: Path, march: str, options: Mapping[str, object]) -> Compiled:
    """Compile `program` (on its device, or on the one that `offline_cuda` pretends) and write the package to `path`.

    Raises:
        ExportError: when the compiler refuses it.
    """
    name = re.sub(r"\W", "_", path.stem)
    headers = os.environ.get("TORCHINDUCTOR_CACHE_DIR")  # as the user has it: `_workplace` sets its own
    with _workplace(name) as folder, _headers_in(headers) as kept, _kernels_by_name(folder):
        try:
            own = _settings(folder, name, march, included(program, folder.with_suffix(".tmp")))
            return _compile(program, name, path, march, _known({**options, **kept, **own}))
        except (GenExportError, OSError):
            raise
        except Exception as error:  # the compiler raises many types; the cause is kept
            chain = [error, *_causes(error)]
            ours = next((e for e in chain if isinstance(e, GenExportError)), None)
            if ours is not None:
                raise ours from error
            raise ExportError(f"{path.stem}: AOTInductor refused it: {_short(chain[-1])}") from error


def _compile(program: ExportedProgram, name: str, path: Path, march: str, options: Mapping[str, object]) -> Compiled:
    from torch._inductor.cpu_vec_isa import pick_vec_isa
    from torch.export.pt2_archive._package import package_pt2

    args, kwargs = program.example_inputs or ((), {})
    module = program.module(check_guards=False)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the number that marks the end of the weights is drawn at random
        with torch._inductor.config.patch({"cpp.simdlen": options["cpp.simdlen"]}):
            isa = str(pick_vec_isa())
        made = torch._inductor.aot_compile(module, args, kwargs, options=dict(options))
    assert isinstance(made, list)  # so with aot_inductor.package
    files = [file for file in made if isinstance(file, str)]
    sources = {file: Path(file).read_text() for file in files if file.endswith(".cpp")}
    named, wrapper = next((file, text) for file, text in sources.items() if file.endswith(".wrapper.cpp"))
    # The sources stay out: nothing reads them, and they name folders of the building machine. But torch 2.11 finds the
    # package's NAME.wrapper_metadata.json by the name of NAME.wrapper.cpp: an empty file of that name goes in.
    Path(named).write_bytes(b"")
    left_out = {*sources} - {named}
    kept = [file for file in files if file not in left_out and not file.endswith(".kernel_metadata.json")]
    extra = {CONSTANTS_FILE: json.dumps(_constants(wrapper, on_gpu=any(file.endswith(".cubin") for file in files)))}
    package_pt2(str(path), aoti_files={"model": [*kept]}, extra_files=extra)
    kernels = sum(file.endswith(".cubin") for file in files) or sum(
        text.count('extern "C"') for file, text in sources.items() if file.endswith(".kernel.cpp")
    )
    return Compiled(host_code(march, isa), kernels, _operators(wrapper), _proxy(files))


def _settings(folder: Path, name: str, march: str, headers: Sequence[Path]) -> dict[str, object]:
    return {
        "aot_inductor.package": True,
        "aot_inductor.output_path": str(folder),
        "aot_inductor.model_name_for_generated_files": name,
        "aot_inductor.metadata": {},  # the default is one dictionary that every build of the process writes to
        "aot_inductor.force_mmap_weights": True,  # weights of any size, mapped and not linked (the limit was 2 GB)
        "aot_inductor.enable_line_tables": False,  # debugging sections, with paths of the building machine
        "always_keep_tensor_constants": True,  # small ones too, as weights that can be checked and not as literals
        "cpp.enable_floating_point_contract_flag": _flags(folder, headers),
        "cpp.march": march,
        "cpp.simdlen": LEVELS[march][0],
        "cpp.dynamic_threads": True,  # else the number of threads of the building process is compiled in
        "fx_graph_cache": False,
        "fx_graph_remote_cache": False,
        "triton.cudagraphs": False,
    }


def _flags(folder: Path, headers: Sequence[Path]) -> str:
    """torch's own choice for `-ffp-contract=`; after it that the files which checks in the code name do not begin with
    the building machine's folders, which are nobody's business, and packages are to repeat; then headers that go in
    front of the code.

    It is the one text that torch hands to the compiler for wrapper and kernels alike; it splits it as a shell does.
    """
    chosen: str = torch._inductor.config.cpp.enable_floating_point_contract_flag
    places = {folder.parent: ".", Path(torch.__file__).parent: "torch"}
    maps = (f"-ffile-prefix-map={place}={name}" for place, name in places.items())
    words = (*maps, *(word for header in headers for word in ("-include", str(header))))
    return " ".join([chosen, *map(shlex.quote, words)])


def _known(options: Mapping[str, object]) -> dict[str, object]:
    """`options` without those that this torch does not have and that are allowed to be absent."""

    def exists(name: str) -> bool:
        found: Any = torch._inductor.config
        for part in name.split("."):
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True

    return {k: v for k, v in options.items() if k not in _NEWER | _OLDER or exists(k)}


@contextlib.contextmanager
def _workplace(name: str) -> Iterator[Path]:
    """An empty folder of a fixed name; nobody else builds what has that name meanwhile, and nothing stays but the
    compiler's cache, which processes share."""
    root = work_folder()
    root.mkdir(parents=True, exist_ok=True)
    tempfile.gettempdir()  # that of this process is chosen before its compilers have one of their own
    folder, temporary = root / f"{name}.build", root / f"{name}.tmp"
    # Line tables of a GPU's kernels would name the generated files in that folder.
    own = {"TORCHINDUCTOR_CACHE_DIR": str(root / "cache"), "TRITON_DISABLE_LINE_INFO": "1", "TMPDIR": str(temporary)}
    environment = mock.patch.dict(os.environ, own)
    (root / "locks").mkdir(exist_ok=True)
    quietly = quiet("torch.utils.cpp_extension")  # where there is no GPU, it says so
    with _IN_THIS_PROCESS, filelock.FileLock(root / "locks" / name), environment, quietly:
        if folder.exists():  # its build was killed
            end_those_at(folder)  # its compilers would write into it
        for place in (folder, temporary):  # what a killed compiler left, too
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        try:
            yield folder
        finally:
            for place in (folder, temporary):
                shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _headers_in(folder: str | None) -> Iterator[dict[str, object]]:
    """The option that has torch's headers compiled once and kept, where the user names a folder for the compiler to
    keep things in: hundreds of MB, which torch itself would put into /tmp. No byte of a package depends on it."""
    if folder is None:
        yield {"aot_inductor.precompile_headers": False}
        return
    from torch._inductor import codecache

    kept = Path(folder) / "precompiled_headers"
    with (
        mock.patch.object(codecache, "_HEADER_DIR", str(kept)),
        mock.patch.object(codecache, "_HEADER_LOCK_DIR", str(kept / "locks")),
    ):
        yield {"aot_inductor.precompile_headers": True}


@contextlib.contextmanager
def _kernels_by_name(folder: Path) -> Iterator[None]:
    """While a GPU's kernels are named without the folder in which they lie here: the loader of packages looks in the
    folder of the unpacked package."""
    from torch._inductor.codegen import cpp_wrapper_gpu

    written = cpp_wrapper_gpu.cpp_string_literal

    def literal(text: str) -> str:
        return str(written(text.removeprefix(f"{folder}/")))

    with mock.patch.object(cpp_wrapper_gpu, "cpp_string_literal", literal):
        yield


_ALIGNMENT = 64  # of each weight of a CPU program; those of a GPU are aligned when they are copied there
_FIELD = re.compile(r'constants_info_\[(\d+)\]\.(\w+) = (?:"([^"]*)"|\{([\d, ]*)\}|(\w+));')


def _constants(wrapper: str, on_gpu: bool) -> list[dict[str, Any]]:
    """The table of weights, in the order in which they are stored, with where each begins."""
    table: dict[int, dict[str, Any]] = {}
    for index, field, text, numbers, word in _FIELD.findall(wrapper):
        row = table.setdefault(int(index), {})
        if field == "original_fqn":
            row["name"] = text
        elif field in ("shape", "stride"):
            row[field] = [int(n) for n in numbers.split(",") if n.strip()]
        elif field == "data_size":
            row["bytes"] = int(word)
        elif field == "dtype":
            row["dtype"] = word.removeprefix("cached_torch_dtype_")
    alignment, place = (1 if on_gpu else _ALIGNMENT), 0
    for index in sorted(table):
        table[index]["offset"] = place
        place += -(-table[index]["bytes"] // alignment) * alignment
    return [table[index] for index in sorted(table)]


def _operators(wrapper: str) -> dict[str, int]:
    calls = re.findall(r"aoti_torch_(?:cpu|cuda)_(\w+)\(", wrapper)
    return dict(sorted(Counter(calls).items()))


def _proxy(files: list[str]) -> tuple[str, ...]:
    """Operators of the table that the interpreter is given, if there is one."""
    found: set[str] = set()
    for file in files:
        if file.endswith(".wrapper.json"):
            nodes = json.loads(Path(file).read_text()).get("nodes", [])
            found |= {node["node"]["target"] for node in nodes}
    return tuple(sorted(found))


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (cause := error.__cause__ or error.__context__) is not None:
        yield cause
        error = cause


def _short(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".strip()
    return text if len(text) < 1500 else text[:1000] + " ... " + text[-400:]
