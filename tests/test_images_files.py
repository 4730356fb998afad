"""Images from and to files: what stands in them comes out as it is meant to be seen, and what is no picture gives a reason."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from puji.errors import Invalid
from puji.language import LANGUAGES
from puji.modalities.images import phantoms
from puji.modalities.images.image import LARGEST, Image, cleaned_label, cleaned_labels, revived, squared, stretched
from puji.modalities.images.modality import Images
from puji.modalities.images.read import read, read_one
from puji.modalities.images.write import write

pydicom = pytest.importorskip("pydicom", reason="the extra puji[images] is not installed")
nibabel = pytest.importorskip("nibabel", reason="the extra puji[images] is not installed")

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (32, 1))


def contents(path):
    found = list(read(path))
    return [raw.content for raw in found if not isinstance(raw, Invalid)], [
        one for one in found if isinstance(one, Invalid)
    ]


def reason(path):
    images, refusals = contents(path)
    assert not images and len(refusals) == 1
    for language in LANGUAGES:
        assert refusals[0].reason not in refusals[0].message(language)
    return refusals[0].reason


def dicom(path, values, **fields):
    """A DICOM file of 16-bit ``values`` (rows, columns) or (frames, rows, columns)."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Rows, dataset.Columns = values.shape[-2:]
    if values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PatientID = "P7"
    dataset.PixelData = values.astype("<u2").tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


# -- pictures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_grey_pictures_come_out_as_they_are(tmp_path, ending):
    Pillow.fromarray(RAMP).save(tmp_path / f"a.{ending}")
    (image,), refusals = contents(tmp_path / f"a.{ending}")
    assert not refusals and image.channels == 1 and image.size == 32
    assert (image.array[:, :, 0] == RAMP).all()


def test_sixteen_bits_and_floats_are_brought_to_grey_levels(tmp_path):
    Pillow.fromarray(RAMP.astype(np.uint16) * 100 + 7).save(tmp_path / "a.png")
    Pillow.fromarray(RAMP.astype(np.float32) / 17 - 3).save(tmp_path / "b.tif")
    for name in ("a.png", "b.tif"):
        (image,), _ = contents(tmp_path / name)
        # The outer half per cent is cut off.
        assert np.abs(image.array[:, :, 0].astype(int) - RAMP).max() <= 10
        assert image.array.min() == 0 and image.array.max() == 255


def test_colour_stays_and_grey_in_colour_becomes_grey(tmp_path):
    colour = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)
    Pillow.fromarray(colour).save(tmp_path / "colour.png")
    Pillow.fromarray(np.repeat(RAMP[:, :, None], 3, 2)).save(tmp_path / "grey.png")
    assert (read_one(str(tmp_path / "colour.png")).array == colour).all()
    assert read_one(str(tmp_path / "grey.png")).channels == 1


def test_what_is_transparent_is_black(tmp_path):
    Pillow.fromarray(
        np.dstack([np.full((16, 16), 200, np.uint8)] * 3 + [np.tile(np.uint8([0, 255] * 8), (16, 1))])
    ).save(tmp_path / "a.png")
    array = read_one(str(tmp_path / "a.png")).array[:, :, 0]
    assert (array[:, ::2] == 0).all() and (array[:, 1::2] == 200).all()


def test_large_pictures_become_small_by_their_middle_square(tmp_path):
    wide = np.zeros((100, 300), np.uint8)
    wide[:, 100:200] = 180
    Pillow.fromarray(wide).save(tmp_path / "a.png")
    image = read_one(str(tmp_path / "a.png"))
    assert image.size == LARGEST and (image.array == 180).all()


# -- DICOM ---------------------------------------------------------------------------------------------------------------


def test_dicom_is_rescaled_then_windowed(tmp_path):
    values = np.tile(np.arange(32) * 100, (32, 1))
    window = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 1000, "WindowWidth": 2001}
    (image,), _ = contents(dicom(tmp_path / "a", values, **window))  # without an ending: known by its content
    # PS3.3 C.11.2.1.2.1: ((x - (c - .5)) / (w - 1) + .5) * 255
    told = ((values * 2 - 1000) - 999.5) / 2000 + 0.5
    assert (image.array[:, :, 0] == (255 * told.clip(0, 1)).round()).all()
    assert image.subject == "P7"


def test_monochrome1_is_turned_over(tmp_path):
    values = np.tile(np.arange(32) * 100, (32, 1))
    same = {"WindowCenter": 1600, "WindowWidth": 3000}
    two = read_one(str(dicom(tmp_path / "two.dcm", values, **same)))
    one = read_one(str(dicom(tmp_path / "one.dcm", values, PhotometricInterpretation="MONOCHROME1", **same)))
    assert (one.array == 255 - two.array).all()
    assert one.array[0, 0, 0] > one.array[0, -1, 0]


def test_several_windows_mean_the_first_and_sigmoid_is_one(tmp_path):
    values = np.tile(np.arange(32) * 100, (32, 1))
    first = read_one(str(dicom(tmp_path / "a.dcm", values, WindowCenter=[500, 9], WindowWidth=[1000, 9])))
    alone = read_one(str(dicom(tmp_path / "b.dcm", values, WindowCenter=500, WindowWidth=1000)))
    assert first == alone
    curve = read_one(
        str(dicom(tmp_path / "c.dcm", values, WindowCenter=500, WindowWidth=1000, VOILUTFunction="SIGMOID"))
    )
    told = 255 / (1 + np.exp(-4 * (values - 500) / 1000))
    assert np.abs(curve.array[:, :, 0] - told.round()).max() <= 1


def test_a_frame_can_be_chosen_and_the_middle_one_is_the_default(tmp_path):
    frames = np.stack([np.tile(np.arange(32) * step, (32, 1)) for step in (1, 50, 100)])
    path = dicom(tmp_path / "a.dcm", frames, WindowCenter=1600, WindowWidth=3200)
    assert read_one(str(path)) == read_one(f"{path}#2")
    assert read_one(f"{path}#3").array.mean() > read_one(f"{path}#2").array.mean() > read_one(f"{path}#1").array.mean()
    with pytest.raises(Invalid) as refusal:
        read_one(f"{path}#4")
    assert refusal.value.reason == "images.frame" and refusal.value.details["frames"] == 3


def test_compressed_dicom_without_a_decoder_names_the_syntax(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.zeros((16, 16)))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    found = contents(path)[1][0]
    assert found.reason == "images.codec" and "JPEG-LS" in found.message()


def test_dicom_without_pixels_and_truncated_dicom(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.arange(1024).reshape(32, 32))
    (tmp_path / "short.dcm").write_bytes(path.read_bytes()[:-1000])
    assert reason(tmp_path / "short.dcm") == "images.damaged"
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(tmp_path / "none.dcm")
    assert reason(tmp_path / "none.dcm") == "images.no_pixels"
    (tmp_path / "text.dcm").write_text("hello", "utf-8")
    assert reason(tmp_path / "text.dcm") == "images.not_dicom"
    dicom(tmp_path / "huge.dcm", np.zeros((16, 16)), Rows=60_000, Columns=60_000)
    assert reason(tmp_path / "huge.dcm") == "images.huge"


# -- NIfTI ---------------------------------------------------------------------------------------------------------------


def volume():
    """Left-right, back-front, feet-head: bright to the patient's left and to the front."""
    left, front, up = np.mgrid[:20, :24, :5].astype(np.float32)
    return left + 2 * front + 0 * up


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SAR"])
def test_slices_lie_as_radiologists_look_at_them_whatever_the_files_axes(tmp_path, codes):
    affine = np.diag([-1.0, 1, 1, 1])  # the first axis runs to the left
    image = nibabel.Nifti1Image(volume(), affine)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes))
    )
    nibabel.save(turned, tmp_path / "a.nii.gz")
    array = read_one(f"{tmp_path / 'a.nii.gz'}#2").array[:, :, 0].astype(int)
    assert array.shape == (20, 20)
    assert (np.diff(array, axis=1) > 0).all()  # the patient's left is on the right
    assert (np.diff(array, axis=0) < 0).all()  # the front is on top


def test_nifti_with_no_numbers_and_damaged_ones(tmp_path):
    holes = volume()
    holes[3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(holes, np.eye(4)), tmp_path / "nan.nii")
    assert reason(tmp_path / "nan.nii") == "images.nan"
    nibabel.save(nibabel.Nifti1Image(volume(), np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "short.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:900])
    assert reason(tmp_path / "short.nii") == "images.damaged"
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes())[:-300])
    assert reason(tmp_path / "short.nii.gz") == "images.damaged"
    (tmp_path / "text.nii").write_text("hello" * 100, "utf-8")
    assert reason(tmp_path / "text.nii") == "images.damaged"


# -- folders, tables, arrays ---------------------------------------------------------------------------------------------


def test_folders_tell_labels_and_parts_and_links_are_refused(tmp_path):
    for place in ("train/normal/a.png", "train/pneumonia/b.png", "test/normal/c.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(RAMP).save(tmp_path / place)
    (tmp_path / "train" / "normal" / "notes.txt").write_text("x", "utf-8")
    (tmp_path / "train" / "normal" / "link.png").symlink_to(tmp_path / "train" / "normal" / "a.png")
    (tmp_path / "linked").symlink_to(tmp_path / "train")
    (tmp_path / "labels.csv").write_text("path,label\n", "utf-8")
    images, refusals = contents(tmp_path)
    assert sorted((one.labels, one.split) for one in images) == [
        (("normal",), "test"),
        (("normal",), "train"),
        (("pneumonia",), "train"),
    ]
    assert sorted(one.reason for one in refusals) == ["images.ending", "images.link", "images.link", "images.table"]
    assert [Images().part(one) for one in images] == ["apart", "training", "training"]


def test_a_table_tells_labels_patients_and_parts(tmp_path):
    Pillow.fromarray(RAMP).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(
        "path,label,patient,split\na.png,effusion;mass,P1,val\na.png,,P2,\n../a.png,x,P3,\n/etc/passwd,x,P3,\nmissing.png,x,P3,\n"
        "a.png,x,P3,holiday\na.png\n",
        "utf-8",
    )
    images, refusals = contents(tmp_path / "t.csv")
    assert [(one.labels, one.subject, one.split) for one in images] == [
        (("mass", "pleural effusion"), "P1", "val"),
        ((), "P2", ""),
    ]
    assert Images().group(images[0]) == "P1"
    reasons = ["images.outside", "images.outside", "read.missing", "images.split", "images.row"]
    assert [one.reason for one in refusals] == reasons
    assert [one.line for one in refusals] == [4, 5, 6, 7, 8]
    (tmp_path / "u.csv").write_text("name,label\na.png,x\n", "utf-8")
    assert reason(tmp_path / "u.csv") == "images.no_column"


def test_medmnist_files(tmp_path):
    arrays = {f"{part}_images": np.stack([RAMP[:28, :28]] * 3) for part in ("train", "val", "test")}
    labels = {f"{part}_labels": np.array([[0], [1], [1]], np.uint8) for part in ("train", "val", "test")}
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays, **labels)
    images, _ = contents(tmp_path / "pneumoniamnist.npz")
    assert [one.labels for one in images[:2]] == [("normal",), ("pneumonia",)]
    assert [one.split for one in images] == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    several = {"train_images": np.zeros((2, 28, 28, 3), np.uint8), "train_labels": np.array([[0, 1], [0, 0]])}
    np.savez(tmp_path / "some.npz", **several, label_names=np.array(["mass", "nodule"]))
    assert [one.labels for one in contents(tmp_path / "some.npz")[0]] == [("nodule",), ()]
    np.savez(tmp_path / "objects.npz", train_images=np.array([{"a": 1}], dtype=object))
    assert reason(tmp_path / "objects.npz") == "images.damaged"
    np.savez(tmp_path / "float.npz", train_images=np.zeros((2, 28, 28)))
    assert reason(tmp_path / "float.npz") == "images.array_shape"
    (tmp_path / "text.npz").write_text("hello", "utf-8")
    assert reason(tmp_path / "text.npz") == "images.damaged"


# -- hostile -------------------------------------------------------------------------------------------------------------


def bomb(path, width, height):
    """A PNG of a few hundred kilobytes that claims ``width`` x ``height`` pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(10_000_000), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def test_a_bomb_is_refused_in_little_memory(tmp_path):
    tracemalloc.start()
    try:
        assert reason(bomb(tmp_path / "a.png", 20_000, 20_000)) == "images.huge"
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_what_is_no_picture_gives_a_reason(tmp_path):
    Pillow.fromarray(RAMP).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    cases = {
        "text.png": (b"this is text", "images.not_picture"),
        "empty.png": (b"", "images.not_picture"),
        "short.png": (whole[: len(whole) // 2], "images.damaged"),
        "page.jpg": (b"<html></html>", "images.not_picture"),
        "notes.txt": (b"x", "images.ending"),
        "gif.png": (b"GIF89a" + bytes(100), "images.not_picture"),
    }
    for name, (content, told) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert reason(tmp_path / name) == told, name
    Pillow.fromarray(RAMP[:4, :4]).save(tmp_path / "small.png")
    assert reason(tmp_path / "small.png") == "images.small"
    (tmp_path / "sub").mkdir()
    assert reason(tmp_path / "sub") == "images.folder"
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert reason(tmp_path / "gone.png") == "read.missing"


@given(
    st.binary(max_size=300), st.sampled_from(["png", "jpg", "tif", "bmp", "dcm", "nii", "npz", "csv"]), st.booleans()
)
def test_no_content_makes_reading_crash(tmp_path_factory, content, ending, magic):
    heads = {
        "png": b"\x89PNG\r\n\x1a\n",
        "jpg": b"\xff\xd8\xff\xe0",
        "tif": b"II*\x00",
        "bmp": b"BM",
        "npz": b"PK\x03\x04",
    }
    head = (bytes(128) + b"DICM" if ending == "dcm" else heads.get(ending, b"")) if magic else b""
    path = tmp_path_factory.mktemp("fuzz") / f"a.{ending}"
    path.write_bytes(head + content)
    for one in read(path):
        assert isinstance(one, Invalid) or isinstance(one.content, Image)


@given(st.binary(min_size=1, max_size=30), st.integers(0, 3000))
def test_damaged_dicom_never_crashes(tmp_path_factory, content, place):
    path = dicom(tmp_path_factory.mktemp("dicom") / "a.dcm", np.arange(400).reshape(20, 20))
    whole = bytearray(path.read_bytes())
    at = 132 + place % (len(whole) - 132)
    whole[at : at + len(content)] = content
    path.write_bytes(bytes(whole))
    for one in read(path):
        assert isinstance(one, Invalid) or isinstance(one.content, Image)


# -- records -------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_records_are_revived_or_refused(text):
    with pytest.raises(Invalid):
        revived(text)


@given(st.text(max_size=70))
def test_labels_are_cleaned_once(text):
    try:
        label = cleaned_label(text)
    except Invalid:
        return
    assert cleaned_label(label) == label
    assert cleaned_labels(f"{label};b; {label}") == tuple(sorted({label, "b"}))


def test_grey_levels_are_bounded():
    assert stretched(np.array([-1e9, 0, 5, 10, 1e9]), 0, 10).tolist() == [0, 0, 128, 255, 255]
    assert stretched(np.array([3, 3]), 3, 3).tolist() == [0, 0]
    with pytest.raises(Invalid):
        squared(np.zeros((4, 100, 1), np.uint8))


# -- writing -------------------------------------------------------------------------------------------------------------

ORIGIN = [{"model": "puji images 0.1.0", "seed": 3}]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("colour", [False, True])
def test_secondary_capture_says_that_it_is_synthetic(tmp_path, n, colour):
    rng = np.random.default_rng(0)
    images = [phantoms.lesion(rng) if colour else phantoms.chest(rng) for _ in range(n)]
    path = tmp_path / "new.dcm"
    write(images, ORIGIN * n, path)
    found = pydicom.dcmread(path)
    assert list(found.ImageType) == ["DERIVED", "SECONDARY"]
    assert found.BurnedInAnnotation == "YES" and found.ConversionType == "SYN"
    assert "SYNTHETIC" in found.SeriesDescription and "SYNTHETIC" in str(found.PatientName)
    assert "seed 3" in found.DerivationDescription and found.SoftwareVersions == "puji images 0.1.0"
    pixels = found.pixel_array.reshape(n, found.Rows, found.Columns, -1)
    assert (pixels[:, :224:8, ::8][:, :, :, : images[0].channels] == np.stack([one.array for one in images])).all()
    strip = pixels[:, 224:]
    assert strip.max() == 255 and 0.02 < (strip > 128).mean() < 0.5, "the word is burned in"
    assert (strip == strip[0]).all()
    again = tmp_path / "again.dcm"
    write(images, ORIGIN * n, again)
    assert again.read_bytes() == path.read_bytes()
    assert read_one(str(path)).channels == (3 if colour else 1)


def test_arrays_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    images = [phantoms.chest(rng, opacity=bool(place % 2)) for place in range(4)]
    write(images, ORIGIN * 4, tmp_path / "new.npz")
    back, refusals = contents(tmp_path / "new.npz")
    assert not refusals
    assert [(one.pixels, one.labels) for one in back] == [(one.pixels, one.labels) for one in images]
    with np.load(tmp_path / "new.npz") as arrays:
        assert bool(arrays["synthetic"]) and str(arrays["model"]) == "puji images 0.1.0"
    with pytest.raises(Invalid):
        write(images, ORIGIN * 4, tmp_path / "new.gif")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", np.zeros((16, 16)))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    found = contents(path)[1][0]
    assert found.reason == "images.extra" and "puji[images]" in found.message()
