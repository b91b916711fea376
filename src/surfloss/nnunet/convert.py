"""A data set into nnU-Net's raw layout, as NIfTI files with headers in mm."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss._volumes import ENDINGS, Unavailable, Volume, read_volume, whole_numbers
from surfloss.nnunet.source import Fault, Source, SourceCase, refuse

ENDING = ".nii.gz"
_NO_DEPTH = 999  # the spacing along z that nnU-Net's readers give planes


def convert(source: Source, dataset: Path, advance: Callable[[], None] = lambda: None) -> None:
    """Write nnU-Net's raw data set: images as float32, a file for each channel, labels, and `dataset.json`.

    Every case is checked before the first is written. A label may be of any type of real numbers as long as
    its values, scaled as the header says, are those of the description up to rounding. Volumes of one slice
    become planes, which nnU-Net and the metrics take as 2-D. Files appear under their names only when whole,
    and those already there are kept, so that an interrupted conversion goes on.

    Args:
        source: its training cases go to `imagesTr` and `labelsTr`, its test cases to `imagesTs` and
            `labelsTs`.
        dataset: the folder `DatasetXXX_Name`; new, or one in which the conversion of these cases was begun.
        advance: called after each case.

    Raises:
        ValueError: naming every case that is unreadable, whose image and label disagree or look swapped, or
            whose image is another case's too; or if `dataset` has other cases in a part.
    """
    parts = (("Tr", source.training), ("Ts", source.test))
    for part, cases in parts:
        known = {case.name for case in cases}
        images = {path.name.removesuffix(ENDING)[: -len("_0000")] for path in dataset.glob(f"images{part}/*")}
        labels = {path.name.removesuffix(ENDING) for path in dataset.glob(f"labels{part}/*")}
        if others := sorted((images | labels) - known):
            got = f"{dataset} with {', '.join(others)} in images{part} or labels{part}"
            fail("dataset", got, "a new folder, or one in which the same cases were begun")
    if faults := faults_of(source):
        refuse(faults)
    for part, cases in parts:
        for case in cases:
            _convert_images(source, case, dataset / f"images{part}")
            file = dataset / f"labels{part}" / f"{case.name}{ENDING}"
            if not file.exists():
                label = read_case(case)[1]
                voxels = whole_numbers(label)
                _write(voxels.astype(np.uint8 if max(source.label_numbers) < 256 else np.uint16), label, file)
            advance()
    description: dict[str, Any] = {
        "channel_names": source.channels,
        "labels": source.labels,
        "numTraining": len(source.training),
        "file_ending": ENDING,
    }
    if source.region_order is not None:
        description["regions_class_order"] = source.region_order
    write_text(dataset / "dataset.json", json.dumps(description, indent=2))


def _convert_images(source: Source, case: SourceCase, folder: Path) -> None:
    files = [folder / f"{case.name}_{int(channel):04}{ENDING}" for channel in source.channels]
    if all(file.exists() for file in files):
        return
    for channel, file in zip(read_case(case)[0], files, strict=True):
        voxels = channel.voxels.astype(np.float32)
        _write(voxels if source.window is None else np.clip(voxels, *source.window), channel, file)


def read_case(case: SourceCase) -> tuple[list[Volume], Volume]:
    """A case's channels and its label.

    Raises:
        ValueError, Unavailable: as `read_volume`; or naming the file, if nnU-Net's reader of its kind fails.
    """
    images = _read(case.images)
    label, *others = _read((case.label,))
    if others:
        fail(str(case.label), f"{1 + len(others)} channels", "a label image of one")
    if not case.label.name.lower().endswith(ENDINGS):  # such files do not say where they lie
        label = label._replace(affine=images[0].affine, zooms=images[0].zooms)
    return images, label


def _read(paths: tuple[Path, ...]) -> list[Volume]:
    if not paths[0].name.lower().endswith(ENDINGS):
        return _read_by_nnunet(paths)
    channels = []
    for path in paths:
        volume = read_volume(path)
        if volume.voxels.ndim == 4:  # the Decathlon's form of several channels
            parts = np.moveaxis(volume.voxels, -1, 0)
            channels += [volume._replace(voxels=part) for part in parts]
        else:
            channels.append(volume)
    return [_plane(channel) for channel in channels]


def _plane(volume: Volume) -> Volume:
    """A volume of one slice as 2-D."""
    if volume.voxels.ndim != 3 or volume.voxels.shape[2] != 1:
        return volume
    return volume._replace(voxels=volume.voxels[..., 0], zooms=volume.zooms[:2])


def _read_by_nnunet(paths: tuple[Path, ...]) -> list[Volume]:
    """The channels of PNG, BMP and TIFF files."""
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
    from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

    errors = []
    for reader in (NaturalImage2DIO(), Tiff3DIO()):
        if paths[0].suffix.lower() not in reader.supported_file_endings:
            continue
        try:
            images, properties = reader.read_images([str(path) for path in paths])
        except Exception as error:  # the libraries each have their own
            errors.append(f"{type(error).__name__}: {error}")
            continue
        spacing = properties["spacing"]
        if spacing[0] == _NO_DEPTH and images.shape[1] == 1:
            images, spacing = images[:, 0], spacing[1:]
        zooms = tuple(float(step) for step in spacing[::-1])
        affine = np.diag([*zooms, *(1.0,) * (4 - len(zooms))])
        return [Volume(channel.T, affine, zooms) for channel in images]
    reason = (
        "; ".join(" ".join(error.split()) for error in errors) or "no reader of nnU-Net takes this ending"
    )
    fail(str(paths[0]), f"a file that cannot be read ({reason})", "a whole PNG, BMP or TIFF image")


def faults_of(source: Source) -> list[Fault]:
    """What is wrong with the cases' voxels and headers."""
    faults: list[Fault] = []
    seen: dict[bytes, str] = {}
    for case in source.cases:
        try:
            images, label = read_case(case)
        except (ValueError, Unavailable) as error:
            faults.append((case.name, str(error)))
            continue
        if fault := _fault(source, images, label):
            faults.append((case.name, fault))
        # A patient in two folds would be trained on and then predicted.
        digest = hashlib.blake2b(b"".join(image.voxels.tobytes() for image in images)).digest()
        if (first := seen.setdefault(digest, case.name)) != case.name:
            faults.append((case.name, f"the same image as that of {first}"))
    return faults


def _fault(source: Source, images: list[Volume], label: Volume) -> str | None:
    if len(images) != len(source.channels):
        return f"the image has {len(images)} channels, dataset.json names {len(source.channels)}"
    labels = whole_numbers(label)
    for image in images:
        if fault := _image_fault(image, label, labels):
            return fault
    unknown = np.setdiff1d(labels, sorted(source.label_numbers))[:5].tolist()
    if source.window and np.isin(whole_numbers(images[0]), sorted(source.label_numbers)).all():
        swapped = ": it is swapped with the label" * bool(unknown)
        return f"the image has the values of a label only{swapped}"
    if not unknown:
        return None
    *others, last = map(str, sorted(source.label_numbers))
    return f"the label has values {unknown} other than {', '.join(others)} and {last}"


def _image_fault(image: Volume, label: Volume, labels: npt.NDArray[Any]) -> str | None:
    values = image.voxels
    if values.ndim not in (2, 3):
        return f"the image has {values.ndim} axes, not 2 or 3"
    if values.shape != labels.shape:
        return f"the image has shape {values.shape}, the label {labels.shape}"
    if not np.allclose(image.affine, label.affine, atol=1e-3):
        return f"the headers of image and label disagree on {_disagreement(image, label)}"
    if not np.isfinite(values).all():
        return "the image has NaN or infinite values"
    return None


def _disagreement(image: Volume, label: Volume) -> str:
    if not np.allclose(image.zooms, label.zooms, atol=1e-3):
        one, other = (" x ".join(f"{mm:.4g}" for mm in volume.zooms) for volume in (image, label))
        return f"the spacing: {one} and {other} mm"
    if not np.allclose(image.affine[:3, :3], label.affine[:3, :3], atol=1e-3):
        one, other = ("".join(nibabel.aff2axcodes(volume.affine)) for volume in (image, label))
        return f"the direction: {one} and {other}" if one != other else "the direction: one is rotated"
    one, other = (volume.affine[:3, 3].round(3).tolist() for volume in (image, label))
    return f"the origin: {one} and {other} mm"


def _write(array: np.ndarray[Any, Any], volume: Volume, path: Path) -> None:
    image = nibabel.Nifti1Image(array, volume.affine)
    image.header.set_qform(volume.affine, code=1)  # both forms alike: readers differ in which they take
    image.header.set_zooms(volume.zooms)  # what the rounded affine may miss by a digit
    image.header.set_xyzt_units("mm")
    with written_whole(path) as unfinished:
        nibabel.save(image, unfinished)
