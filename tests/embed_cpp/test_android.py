"""The Android project: written, refused, its resources by aapt, its Kotlin compiled, and run on this machine's JVM."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_text
from chromium import CHROMIUM, Page

from gen3dexport.android.project import PROJECT, android_text, application_id
from gen3dexport.errors import MissingError, UsageError, VerificationError
from gen3dexport.web import packages

Cli = Callable[..., tuple[int, str, str]]
EMBED = Path(__file__).parents[2] / "embed"
TESTS = EMBED / "android" / "tests"
HEADER = EMBED / "cpp" / "include" / "gen3d" / "gen3d.h"
MADE = EMBED.parent / "out" / "embed"  # by make embed
KOTLIN = Path(os.environ.get("GEN3DEXPORT_KOTLIN") or MADE / "kotlin" / "package") / "lib"
"""The folder of kotlin-compiler.jar, of the npm package kotlin-compiler."""
WITHOUT_KOTLIN = "needs Kotlin (make embed, or $GEN3DEXPORT_KOTLIN) and a JDK (Debian: openjdk-17-jdk-headless)"
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
ANDROID = "{http://schemas.android.com/apk/res/android}"


def _has_kotlin() -> bool:
    return (KOTLIN / "kotlin-compiler.jar").is_file() and shutil.which("javac") is not None


def _run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, words)), env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def npm_packages() -> Path:
    """The folder node_modules with the viewer's package: the user's cache's, else npm is asked."""
    try:
        return packages.packages(False)[0].folder.parent
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def project(text_bundle: Path, npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the tiny bundle that takes a prompt."""
    from gen3dexport.android.project import write_project

    three = next(package for package in packages.packages(False, npm_packages) if package.name == "three")
    out = tmp_path_factory.mktemp("android") / "app"
    write_project(text_bundle, out, three, "org.example.chairs")
    return out


@pytest.fixture(scope="module")
def classes(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All Kotlin of the project and of its checks, and the stubs of what Android and the AAR have."""
    if not _has_kotlin():
        pytest.skip(WITHOUT_KOTLIN)
    folder = tmp_path_factory.mktemp("kotlin")
    stubs, out = folder / "stubs", folder / "classes"
    platform = sorted((TESTS / "platform").rglob("*.java"))
    _run("javac", "-Xlint:all", "-Werror", "-d", stubs, *platform, _resource_class(project, folder))
    sources = [project / "app/src/main/kotlin", TESTS / "aar", TESTS / "desktop"]
    _compiled(out, stubs, "-Werror", "-jvm-target", "17", *sources)
    return out


def _compiled(out: Path, classes: Path | None, *words: str | Path) -> None:
    """Kotlin, compiled without the libraries that are not named."""
    compiler = ["-cp", KOTLIN / "kotlin-preloader.jar", "org.jetbrains.kotlin.preloading.Preloader"]
    compiler += ["-cp", KOTLIN / "kotlin-compiler.jar", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    known = ":".join(map(str, filter(None, (KOTLIN / "kotlin-stdlib.jar", classes))))
    options = ["-no-stdlib", "-no-reflect", "-classpath", known, "-d", out]
    _run("java", "-XX:TieredStopAtLevel=1", *compiler, *options, *words)


def _resource_class(project: Path, folder: Path) -> Path:
    """The class R: aapt's where it is installed, which reads every resource; else of the names in the files."""
    resources = project / "app/src/main/res"
    if shutil.which("aapt") and FRAMEWORK.is_file():
        manifest = (project / "app/src/main/AndroidManifest.xml").read_text()
        manifest = manifest.replace("${applicationId}", "org.example.chairs")
        (folder / "AndroidManifest.xml").write_text(
            manifest.replace("<manifest ", '<manifest package="org.gen3dexport.app" ', 1)
        )
        (folder / "res" / "values").mkdir(parents=True)
        shutil.copytree(resources, folder / "res", dirs_exist_ok=True)
        made = '<resources><string name="runtime_version">1</string></resources>'  # by resValue of build.gradle.kts
        (folder / "res" / "values" / "made.xml").write_text(made)
        words = ["-M", folder / "AndroidManifest.xml", "-S", folder / "res", "-I", FRAMEWORK, "-J", folder]
        _run("aapt", "package", "-f", "-m", *words, "--min-sdk-version", "26", "--target-sdk-version", "29")
        return folder / "org/gen3dexport/app/R.java"
    text = "".join(path.read_text() for path in resources.rglob("*.xml"))
    found = {"id": re.findall(r"@\+id/(\w+)", text), "layout": ["main"]}
    found["string"] = [*re.findall(r'<string name="(\w+)"', text), "runtime_version"]
    path = folder / "R.java"
    bodies = [
        f"public static final class {kind} {{ public static final int "
        + ", ".join(f"{name} = {number}" for number, name in enumerate(dict.fromkeys(names)))
        + "; }"
        for kind, names in found.items()
    ]
    path.write_text(f"package org.gen3dexport.app; public final class R {{ {' '.join(bodies)} }}")
    return path


@pytest.fixture(scope="module")
def libraries(project: Path, needs_library: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own C++ by its own CMakeLists.txt, and the stubbed AAR's library over ExecuTorch's wheel."""
    import executorch

    if not shutil.which("javac"):
        pytest.skip("needs a JDK (Debian: openjdk-17-jdk-headless)")
    folder, wheel = tmp_path_factory.mktemp("jni"), Path(executorch.__path__[0])
    java = Path(shutil.which("javac") or "").resolve().parents[1] / "include"
    quick = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DGEN3D_WERROR=ON", *_like_the_ndk()]
    _run("cmake", "-S", project / "app/src/main/cpp", "-B", folder, *quick, f"-DJAVA_HOME={java.parent}")
    _run("cmake", "--build", folder, "--parallel", "2", "--target", "gen3d_jni")
    includes = ["-isystem", wheel / "include", "-isystem", wheel / "include/executorch/runtime/core/portable_type/c10"]
    includes += ["-isystem", java, "-isystem", java / "linux", "-I", EMBED / "cpp/src"]
    words = [
        "-std=c++17",
        "-O1",
        "-fPIC",
        "-shared",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-DC10_USING_CUSTOM_GENERATED_MACROS",
    ]
    sources = [
        TESTS / "desktop/desktop_executorch.cpp",
        *(EMBED / "cpp/src" / f"{n}.cpp" for n in ("kernels", "runtime_log")),
    ]
    linked = ["-Wl,--no-as-needed", f"-L{wheel / 'lib'}", f"-Wl,-rpath,{wheel / 'lib'}"]
    linked += [f"-lexecutorch{part}" for part in ("", "_threadpool", "_backend_xnnpack")]
    out = ["-o", folder / "libdesktop_executorch.so"]
    _run("g++", *words, "-DET_EVENT_TRACER_ENABLED", *includes, *sources, *linked, *out)
    return folder


def _like_the_ndk() -> list[str]:
    """Clang with libc++ where they are, which is what the NDK has; else CMake's own choice."""
    words = ["clang++", "-stdlib=libc++", "-E", "-xc++", "-"]
    if not shutil.which("clang++") or subprocess.run(words, input=b"#include <string>", capture_output=True).returncode:
        return []
    return ["-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_CXX_FLAGS=-stdlib=libc++"]


def test_a_bundle_through_kotlin_and_jni_is_gen3ds(
    classes: Path, libraries: Path, text_bundle: Path, installed: Path, tmp_path: Path
) -> None:
    digest = json.loads((text_bundle / "manifest.json").read_text())["digest"]
    path = f"{classes}:{KOTLIN / 'kotlin-stdlib.jar'}"
    java = ["java", "-Xcheck:jni", "-cp", path, f"-Djava.library.path={libraries}", "ChecksKt"]
    said = _run(*java, text_bundle, tmp_path, digest)
    assert said.splitlines()[-1] == "all checks passed" and "WARNING in native method" not in said, said
    for name, prompt, seed in (("by_kotlin", "a chair", "7"), ("unicode", "Chäir \N{CHAIR}", "1")):
        out = tmp_path / f"by_cpp_{name}.glb"
        _run(installed / "bin" / "gen3d", "run", text_bundle, "-p", prompt, "--seed", seed, "-o", out)
        assert out.read_bytes() == (tmp_path / f"{name}.glb").read_bytes()


@pytest.mark.skipif(not shutil.which("nm"), reason="needs nm of binutils")
def test_the_library_has_no_runtime_inside(libraries: Path) -> None:
    needed = _run("readelf", "-d", libraries / "libgen3d_jni.so")
    assert "executorch" not in needed
    exported = set(re.findall(r" T (\w+)", _run("nm", "-D", "--defined-only", libraries / "libgen3d_jni.so")))
    native = (EMBED / "android/project/app/src/main/kotlin/org/gen3dexport/gen3d/Native.kt").read_text()
    wanted = {f"Java_org_gen3dexport_gen3d_Native_{name}" for name in re.findall(r"external fun (\w+)", native)}
    assert wanted <= exported and len(wanted) == 12


def test_what_is_in_a_project(project: Path, text_bundle: Path, npm_packages: Path) -> None:
    main = project / "app/src/main"
    listed = (main / "assets/bundle-files.txt").read_text().splitlines()
    there = sorted(
        str(p.relative_to(main / "assets/bundle")) for p in (main / "assets/bundle").rglob("*") if p.is_file()
    )
    assert (
        sorted(listed) == there and "manifest.json" in there and not any(name.startswith("golden/") for name in there)
    )
    for name in listed:
        assert (main / "assets/bundle" / name).read_bytes() == (text_bundle / name).read_bytes()
    assert not (main / "cpp/gen3d/cli").exists() and (main / "cpp/gen3d/outside/program.cpp").is_file()
    properties = (project / "gradle.properties").read_text()
    manifest = json.loads((text_bundle / "manifest.json").read_text())
    assert "gen3d.applicationId=org.example.chairs\n" in properties
    assert f"gen3d.executorch={manifest['versions']['executorch']}\n" in properties
    strings = ElementTree.parse(main / "res/values/bundle.xml").getroot()
    said = {entry.get("name"): entry.text or "" for entry in strings}
    assert said["bundle_digest"] == manifest["digest"] and said["app_name"] == manifest["recipe"]["name"]
    page = main / "assets/viewer"
    for path in re.findall(r"(?:from|src=|href=) ?['\"]([^'\"#:]+)['\"]", (page / "index.html").read_text()):
        assert (page / path).is_file(), path
    assert "three" in (project / "NOTICES.txt").read_text()
    assert json.loads((project / PROJECT).read_text())["bundle"] == manifest["digest"]


def test_the_manifest_and_resources_name_what_is_there(project: Path) -> None:
    main = project / "app/src/main"
    root = ElementTree.parse(main / "AndroidManifest.xml").getroot()
    (activity,) = root.iter("activity")
    assert (main / "kotlin" / f"{activity.get(f'{ANDROID}name', '').replace('.', '/')}.kt").is_file()
    texts = {path: path.read_text() for path in (main / "res").rglob("*.xml")}
    names = {name for text in texts.values() for name in re.findall(r'<string name="(\w+)"', text)} | {
        "runtime_version"
    }
    code = "".join(path.read_text() for path in (main / "kotlin").rglob("*.kt"))
    used = set(re.findall(r"@string/(\w+)", "".join([*texts.values(), (main / "AndroidManifest.xml").read_text()])))
    used |= set(re.findall(r"R\.string\.(\w+)", code))
    assert used == names, used ^ names
    for kind, name in re.findall(r'"@(drawable|xml|layout)/(\w+)"', (main / "AndroidManifest.xml").read_text()):
        assert (main / "res" / kind / f"{name}.xml").is_file()


@pytest.mark.skipif(not _has_kotlin(), reason=WITHOUT_KOTLIN)
def test_build_files_are_kotlin(project: Path, tmp_path: Path) -> None:
    """Against stubs: that they are Kotlin without a misspelt name; whether Gradle takes them is not tried."""
    shutil.copyfile(TESTS / "gradle" / "GradleStubs.kt", tmp_path / "gradle.kt")
    scripts = ["settings.gradle.kts", "build.gradle.kts", "app/build.gradle.kts"]
    for number, name in enumerate(scripts):
        text = (project / name).read_text()
        (tmp_path / f"script{number}.kt").write_text(
            f"package s{number}\nimport stubs.*\nfun script() {{\n{text}\n}}\n"
        )
    _compiled(tmp_path / "out", None, *sorted(tmp_path.glob("*.kt")))


class _Site(http.server.SimpleHTTPRequestHandler):
    """The addresses that the application's WebView gives: `/assets/` and `/made/`."""

    extensions_map = {
        "": "application/octet-stream",
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(project: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    (tmp_path / "assets").symlink_to(project / "app/src/main/assets")
    (tmp_path / "made").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Site, directory=str(tmp_path))) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://localhost:{made.server_address[1]}/assets/viewer/index.html", tmp_path / "made"
        made.shutdown()


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (Debian: chromium)")
def test_the_viewers_page_shows_what_was_written(served: tuple[str, Path]) -> None:
    import numpy as np

    address, made = served
    corners = np.array([[0, 0, 0.4], [-0.4, -0.4, -0.4], [0.4, -0.4, -0.4], [0, 0.4, -0.4]], "<f4")
    corners.tofile(made / "vertices")
    (corners / np.linalg.norm(corners, axis=1, keepdims=True)).astype("<f4").tofile(made / "normals")
    np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], "<u4").tofile(made / "faces")
    with Page(width=400, height=400) as page:
        page.go(address)
        page.wait("window.gen3d !== undefined")
        page.value("window.gen3d.show(1)")
        page.wait("document.documentElement.dataset.shown === '1'")
        pixels = page.value(
            "(() => { const c = document.getElementById('canvas'), d = document.createElement('canvas');"
            "d.width = c.width; d.height = c.height; const g = d.getContext('2d'); g.drawImage(c, 0, 0);"
            "const p = g.getImageData(0, 0, d.width, d.height).data; let n = 0;"
            "for (let i = 3; i < p.length; i += 4) n += p[i] > 0; return n / (p.length / 4); })()"
        )
        assert 0.05 < pixels < 0.9
        assert page.value("document.getElementById('hint').textContent") == "" and page.console == []


def test_the_command_refuses(
    cli: Cli, text_bundle: Path, features_bundle: Path, npm_packages: Path, tmp_path: Path
) -> None:
    arguments = ("--node-modules", npm_packages)

    def refused(
        bundle: Path, words: str, *more: str | Path, code: int = UsageError.exit_code, out: Path = tmp_path / "app"
    ) -> None:
        found, said, error = cli("android", bundle, "-o", out, *arguments, *more)
        assert (found, said) == (code, "") and words in error, error
        assert sorted(p.name for p in tmp_path.iterdir()) == before

    before: list[str] = []
    refused(features_bundle, "takes no prompt")
    refused(tmp_path / "none", "none")
    refused(text_bundle, "lies in the bundle", out=text_bundle / "app")
    refused(text_bundle, "--application-id Chairs", "--application-id", "Chairs")
    refused(text_bundle, "class is a word of Java", "--application-id", "org.class")
    before = ["onnx", "weights"]
    for name in before:
        shutil.copytree(text_bundle, tmp_path / name)
    tiny_text.change(tmp_path / "onnx", lambda data: data["versions"].pop("executorch"))
    refused(tmp_path / "onnx", "no AAR")
    tiny_text.change(tmp_path / "weights", lambda data: data.update(random_weights=True))
    refused(tmp_path / "weights", "random weights")
    (tmp_path / "onnx" / "programs" / "flow.pte").write_bytes(b"damaged")
    refused(tmp_path / "onnx", "flow.pte", code=VerificationError.exit_code)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = ["full", "onnx", "weights"]
    refused(text_bundle, "is not replaced", out=tmp_path / "full")


@pytest.mark.parametrize("target", ["eager"])
def test_a_bundle_of_another_target_is_refused(cli: Cli, prompted: Path, target: str, tmp_path: Path) -> None:
    code, _, error = cli("android", prompted, "-o", tmp_path / "app")
    assert code == UsageError.exit_code and "--target executorch-arm64" in error and not any(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(
    cli: Cli, text_bundle: Path, npm_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gen3dexport.android import project

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project, "_notices", full)
    code, _, error = cli("android", text_bundle, "-o", tmp_path / "app", "--node-modules", npm_packages)
    assert code == UsageError.exit_code and "space" in error and not (tmp_path / "app").exists()
    assert not [path for path in tmp_path.iterdir() if "draft" in path.name]


def test_beside(cli: Cli, text_bundle: Path, npm_packages: Path, tmp_path: Path) -> None:
    command = ("android", text_bundle, "-o", tmp_path / "app", "--node-modules", npm_packages, "--beside", "--json")
    code, out, error = cli(*command)
    assert code == 0, error
    said = json.loads(out)
    assert said["beside"] and said["application_id"].startswith("com.example.")
    assets = tmp_path / "app/app/src/main/assets"
    assert (assets / "bundle-files.txt").read_text() == "" and not (assets / "bundle").exists()
    assert (tmp_path / "app/bundle/programs/flow.pte").read_bytes() == (text_bundle / "programs/flow.pte").read_bytes()
    code, out, _ = cli(*command)
    assert code == UsageError.exit_code and "is not replaced" in json.loads(out)["message"]


def test_names_and_texts() -> None:
    assert application_id("trellis-mini", None) == "com.example.trellis_mini"
    assert (
        application_id("3d", None) == "com.example.app_3d" and application_id("class", None) == "com.example.app_class"
    )
    assert application_id("x", "org.example.a1") == "org.example.a1"
    assert android_text('don\'t <b>\n "x" \\') == 'don\\\'t &lt;b&gt; \\"x\\" \\\\'
    assert android_text("@me") == "\\@me" and android_text("?") == "\\?" and android_text("") == ""


def test_codes_are_the_headers() -> None:
    header = dict(re.findall(r"GEN3D_(\w+) = (\d+)", HEADER.read_text()))
    wrapper = EMBED / "android/project/app/src/main/kotlin/org/gen3dexport/gen3d/Gen3dException.kt"
    assert dict(re.findall(r"const val (\w+) = (\d+)", wrapper.read_text())) == {
        k: v for k, v in header.items() if k != "OK"
    }
