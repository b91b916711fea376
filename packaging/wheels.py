"""`make wheels`: one wheel per platform, cross-compiled with Zig's C++ compiler, into dist/.

    python packaging/wheels.py [PLATFORM ...]

A wheel serves every Python, since the library is reached through ctypes. The release workflow builds the
wheels natively with cibuildwheel; this script checks on one machine that all platforms compile and are packed
right.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


@dataclass(frozen=True)
class Platform:
    """A platform by its names for Zig, CMake and wheels."""

    target: str  # Zig's
    system: str  # CMake's
    processor: str  # CMake's
    tag: str  # of wheels
    library: str
    magic: bytes  # the first bytes of its libraries


ELF, PE = b"\x7fELF", b"MZ"
MACH_O = b"\xcf\xfa\xed\xfe"
PLATFORMS = {
    "linux-x86_64": Platform(
        "x86_64-linux-gnu.2.17", "Linux", "x86_64", "manylinux2014_x86_64", "libsurfloss_cpu.so", ELF
    ),
    "linux-arm64": Platform(
        "aarch64-linux-gnu.2.17", "Linux", "aarch64", "manylinux2014_aarch64", "libsurfloss_cpu.so", ELF
    ),
    "macos-x86_64": Platform(
        "x86_64-macos.11.0", "Darwin", "x86_64", "macosx_11_0_x86_64", "libsurfloss_cpu.dylib", MACH_O
    ),
    "macos-arm64": Platform(
        "aarch64-macos.11.0", "Darwin", "arm64", "macosx_11_0_arm64", "libsurfloss_cpu.dylib", MACH_O
    ),
    "windows-x86_64": Platform("x86_64-windows-gnu", "Windows", "AMD64", "win_amd64", "surfloss_cpu.dll", PE),
}
# What every wheel holds besides its library.
CONTENTS = ("surfloss/py.typed", "surfloss/_kernels/cuda/edt.cu", "surfloss/_kernels/cuda/rows.cuh")
LICENCES = ("LICENSE", "NOTICE")


def compiled(name: str) -> Path:
    """Compile the library and its test program for a platform, and return their folder."""
    platform, build = PLATFORMS[name], ROOT / "build" / f"wheel-{name}"
    zig = Path(sys.executable).with_name("python-zig")
    options = {
        "CMAKE_SYSTEM_NAME": platform.system,
        "CMAKE_SYSTEM_PROCESSOR": platform.processor,
        "CMAKE_CXX_COMPILER": zig,
        "CMAKE_CXX_COMPILER_ARG1": "c++",
        "CMAKE_CXX_COMPILER_WORKS": 1,
        "CMAKE_CXX_FLAGS": f"-target {platform.target}",
        "CMAKE_SHARED_LINKER_FLAGS": "-s" if platform.system == "Linux" else "",
        "CMAKE_OSX_ARCHITECTURES": "",
        "CMAKE_OSX_SYSROOT": "",
        "SURFLOSS_TESTS": "ON",
    }
    defined = [f"-D{option}={value}" for option, value in options.items()]
    cmake, ninja = (Path(sys.executable).with_name(tool) for tool in ("cmake", "ninja"))
    _run(cmake, "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *defined)
    _run(cmake, "--build", build)
    return build


def pure_wheel(folder: Path) -> Path:
    """The wheel without a library, for any platform."""
    settings = ("wheel.cmake=false", "wheel.platlib=false")
    options = [f"--config-setting={setting}" for setting in settings]
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", *options, "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def packed(pure: Path, name: str, build: Path) -> Path:
    """The wheel of a platform: the pure one with the library and its tag."""
    platform = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, pure)
        (content,) = folder.iterdir()
        library = content / "surfloss" / "_lib" / platform.library
        library.parent.mkdir()
        library.write_bytes((build / _built(platform)).read_bytes())
        library.chmod(0o755)
        (description,) = content.glob("*.dist-info/WHEEL")
        text = description.read_text().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
        description.write_text(text.replace("Tag: py3-none-any", f"Tag: py3-none-{platform.tag}"))
        _run(sys.executable, "-m", "wheel", "pack", "--dest-dir", DIST, content)
    return DIST / pure.name.replace("-any.whl", f"-{platform.tag}.whl")


def _built(platform: Platform) -> str:
    """What the linker calls the library."""
    return f"lib{platform.library}" if platform.system == "Windows" else platform.library


def check(wheel: Path, name: str) -> None:
    """Raise where a wheel lacks a file, or has the library of another platform."""
    platform = PLATFORMS[name]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        wanted = [*CONTENTS, f"surfloss/_lib/{platform.library}"]
        missing = [file for file in wanted if file not in names]
        missing += [file for file in LICENCES if not any(n.endswith(f"licenses/{file}") for n in names)]
        if missing:
            raise SystemExit(f"{wheel.name} lacks {', '.join(missing)}")
        if any("/_lib/" in file and not file.endswith(platform.library) for file in names):
            raise SystemExit(f"{wheel.name} has the library of another platform")
        if not archive.read(f"surfloss/_lib/{platform.library}").startswith(platform.magic):
            raise SystemExit(f"{wheel.name}: {platform.library} is none of {platform.system}")
    _run(sys.executable, "-m", "twine", "check", "--strict", wheel)


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def main() -> None:
    names = sys.argv[1:] or list(PLATFORMS)
    if unknown := [name for name in names if name not in PLATFORMS]:
        raise SystemExit(f"platforms: got {', '.join(unknown)}, want some of {', '.join(PLATFORMS)}")
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        pure = pure_wheel(Path(temporary))
        wheels = {name: packed(pure, name, compiled(name)) for name in names}
    for name, wheel in wheels.items():
        check(wheel, name)
        print(f"{wheel.stat().st_size / 1e6:.2f} MB  {wheel.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
