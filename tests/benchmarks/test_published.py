"""The published record is read again as it was written; its words, its picture, and names of machines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.published import Gpu, Machine, Published
from tests.benchmarks.test_tables import published


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    gpu = Gpu("A GPU", cuda="13.0", driver="580.1", copy_bytes_per_s=4.2e12)
    for name, result in {
        "cpu": published(),
        "gpu": replace(published(), machine=Machine("A CPU", 2, gpu)),
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(result.to_dict(), allow_nan=False))
        again = json.dumps(Published.read(path).to_dict(), sort_keys=True)
        assert again == json.dumps(json.loads(path.read_text()), sort_keys=True)
    path.write_text('{"format": 2}')
    with pytest.raises(ValueError, match="got format 2, wanted 1"):
        Published.read(path)


def test_notes_tell_the_commit_and_facts_of_the_machine() -> None:
    (first, *_) = published().notes()
    assert first == (
        "2026-11-24, A CPU, 2 cores (x86_64, avx2), 1 thread; surfloss 0.1.0 at 0123456789, "
        "python 3.11.7, edt 3.1.2."
    )
    gpu = Gpu("A GPU", cuda="13.0", driver="580.1", copy_bytes_per_s=4.2e12)
    for found, text in (
        (gpu, "A GPU (driver 580.1, CUDA 13.0, copies at 4200 GB/s)"),
        (Gpu("A GPU", cuda="13.0"), "A GPU (CUDA 13.0)"),
    ):
        machine = replace(published().machine, gpu=found)
        assert str(machine) == f"{text} beside A CPU, 2 cores (x86_64, avx2)"


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.picture import draw

    result = published()
    for name, rows in {"all": result.rows, "loss only": result.rows[-1:], "none": []}.items():
        draw(replace(result, rows=rows), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("cpu", "cores", "name"),
    [
        ("AMD EPYC", 2, "cpu-amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 28, "cpu-intel-xeon-e5-2680-v4-28-cores"),
        ("AMD Ryzen 9 7950X 16-Core Processor", 16, "cpu-amd-ryzen-9-7950x-16-core-16-cores"),
        ("Apple M2 Pro", 10, "cpu-apple-m2-pro-10-cores"),
    ],
)
def test_names_of_machines(cpu: str, cores: int, name: str) -> None:
    machine = Machine(cpu, cores)
    assert machine.slug == name
    assert replace(machine, gpu=Gpu("NVIDIA H100 80GB HBM3")).slug == "gpu-nvidia-h100-80gb-hbm3"
