import contextlib
import os
import re
import sys
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import reports
from worker.core.reports import LONGEST_HINT
from worker.errors import ArgumentError, DiskFull, MissingFile, PathError, UnsupportedFormat
from worker.files.paths import IMAGE_ENDINGS, TEXT_ENDINGS, FileRules
from worker.protocol.messages import MAX_ID_BYTES

ENDINGS = frozenset({".png", ".jpg"})


@pytest.fixture
def root(tmp_path):
    folder = tmp_path.resolve() / "show"
    folder.mkdir()
    return folder


@pytest.fixture
def files(root):
    return FileRules((root,))


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_relative(files, root):
    """Relative paths start at the first root."""
    assert files.to_read("shots/a.png") == root / "shots" / "a.png"
    assert files.to_write("./b.png") == root / "b.png"


def test_back_slashes(files, root):
    """Back-slashes separate folders on every system."""
    assert files.to_read("shots\\day 1\\a.png") == root / "shots" / "day 1" / "a.png"


def test_absolute(files, root):
    """An absolute path under a root is taken as it is."""
    assert files.to_write(str(root / "a.png")) == root / "a.png"


@pytest.mark.parametrize("text", ["../secret.png", "shots/../../secret.png", "/etc/passwd", "..\\secret.png", "//etc/passwd"])
def test_outside(files, text):
    """A path that leads out of the roots is refused with a sentence that names the setting."""
    for ask in (files.to_read, files.to_write):
        with pytest.raises(PathError) as caught:
            ask(text)
        assert text.replace("\\", "/") in caught.value.message.replace("\\", "/")
        assert "--root" in caught.value.hint


def test_sibling_with_the_same_beginning(files, root):
    """/data/show-2 does not lie in /data/show."""
    with pytest.raises(PathError):
        files.to_read(str(root) + "-2/a.png")


def test_links(files, root, tmp_path):
    """A link is followed before the check: one that leads out is refused, one that leads to another place inside is not."""
    outside = tmp_path / "outside"
    touch(outside, "a.png")
    touch(root, "b.png")
    try:
        (root / "out").symlink_to(outside, target_is_directory=True)
        (root / "in.png").symlink_to(root / "b.png")
    except OSError:
        pytest.skip("this system lets us make no links")
    for text in ("out/a.png", "out/new.png"):
        with pytest.raises(PathError):
            files.to_write(text)
    assert files.to_read("in.png") == root / "b.png"


def test_read_roots(root, tmp_path):
    """What lies under a read root may be read and not written."""
    library = tmp_path.resolve() / "library"
    files = FileRules((root,), (library,))
    assert files.to_read(str(library / "a.png")) == library / "a.png"
    with pytest.raises(PathError, match="written"):
        files.to_write(str(library / "a.png"))


def test_no_roots():
    """Without any root no file may be touched, and the sentence says how to change that."""
    with pytest.raises(PathError) as caught:
        FileRules(()).to_read("a.png")
    assert "--root" in caught.value.hint


def test_unrestricted(tmp_path, monkeypatch):
    """The local `run` may go anywhere; its relative paths start at the current folder."""
    monkeypatch.chdir(tmp_path)
    files = FileRules((), unrestricted=True)
    assert files.to_write("a.png") == tmp_path.resolve() / "a.png"
    assert files.to_read("../b.png") == tmp_path.resolve().parent / "b.png"


@pytest.mark.parametrize("text", ["", "a\0.png", "a\n.png", "a\x7f.png", "\ud800.png"])
def test_unspeakable(files, text):
    """Empty paths, control characters and half characters are refused."""
    with pytest.raises(ArgumentError) as caught:
        files.to_read(text)
    caught.value.message.encode()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('"C:\\show\\a.png"', "Leave them out."),
        ("'shots/*.png'", "Leave them out."),
        ("file:///show/a.png", "Leave file:// out."),
        ("https://example.org/a.png", "Load it first; a job reads files only."),
    ],
)
def test_what_is_no_path(files, text, hint):
    """People paste a path with its quotes, as Windows copies it, or an address; nothing else would say so."""
    for take in files.to_read, lambda text: files.to_read_all(text, (".png",)), files.to_write:
        with pytest.raises(ArgumentError) as caught:
            take(text)
        assert caught.value.hint == hint
        assert text[:8] in caught.value.message


def test_a_quote_in_a_name(files):
    """Only quotes around all of it are taken for a mistake."""
    assert files.to_write('5" disk.png').name == '5" disk.png'


def test_maps(root):
    """The sender's prefix becomes ours, on whole components only, and without regard to a drive letter's case."""
    files = FileRules((root,), maps=(("C:/show", str(root)),))
    assert files.to_read("C:/show/a.png") == root / "a.png"
    assert files.to_read("c:\\SHOW\\b\\A.png") == root / "b" / "A.png"
    assert files.to_read("C:/show") == root
    for text in ("C:/show2/a.png", "C:/showa.png"):
        with pytest.raises(PathError):
            files.to_read(text)


def test_longest_map_wins(root):
    """Of two maps that fit, the more special one is used."""
    files = FileRules((root,), maps=(("/Volumes", str(root)), ("/Volumes/fast", str(root / "ssd"))))
    assert files.to_read("/Volumes/fast/a.png") == root / "ssd" / "a.png"
    assert files.to_read("/Volumes/faster/a.png") == root / "faster" / "a.png"


def test_map_does_not_widen(root):
    """A mapped path must lie under a root like every other."""
    files = FileRules((root,), maps=(("C:/show", str(root)),))
    with pytest.raises(PathError):
        files.to_read("C:/show/../secret.png")


@pytest.mark.skipif(os.name == "nt", reason="there it is a path of this machine")
def test_unmapped_drive(files):
    """A path with a drive letter that nothing maps is refused with a sentence that names --map."""
    with pytest.raises(PathError) as caught:
        files.to_read("D:/shots/a.png")
    assert "--map" in caught.value.hint


@pytest.mark.skipif(os.name == "nt", reason="there the system itself knows no case")
def test_case_of_maps(root):
    """A sender whose system takes A and a for the same finds files as they are stored; where two fit, the exact one counts."""
    touch(root, "Shots/Day 1/IMG.png", "two/a.png", "two/A.png")
    files = FileRules((root,), maps=(("C:/show", str(root)), ("//SERVER/share", str(root)), ("/Volumes/show", str(root))))
    for text in ("c:\\show\\shots\\DAY 1\\img.PNG", "\\\\server\\Share\\SHOTS\\day 1\\img.png"):
        assert files.to_read(text) == root / "Shots" / "Day 1" / "IMG.png"
    assert files.to_write("C:/show/shots/new.png") == root / "Shots" / "new.png"
    assert files.to_read("C:/show/two/A.png") == root / "two" / "A.png"
    assert files.to_read("C:/show/TWO/a.png") == root / "two" / "a.png"
    assert files.to_read("/Volumes/show/shots/a.png") == root / "shots" / "a.png"
    assert files.spell(root / "Shots" / "a.png") == "C:/show/Shots/a.png"


def test_many_stars(files, root):
    """A pattern that would take for ever, were each way to match it tried, takes a moment."""
    touch(root, "/".join("d" * 30) + "/a.png")
    with pytest.raises(MissingFile):
        files.to_read_all("/".join(["**"] * 15 + ["d", "**"] * 10 + ["b*.png"]), ENDINGS)
    assert len(files.to_read_all("**/**/d/**/a*.png", ENDINGS).paths) == 1


def test_written_endings():
    """Exactly the images that can be written may be written, so that no error message offers an ending in vain."""
    from worker.pictures.images import FORMATS

    assert FORMATS.keys() == IMAGE_ENDINGS


def test_spell(root):
    """Paths go back in the sender's own spelling, and come to the same file again."""
    files = FileRules((root,), maps=(("C:\\show\\", str(root)),))
    assert files.spell(root / "b" / "a.png") == "C:/show/b/a.png"
    assert files.to_read(files.spell(root / "b" / "a.png")) == root / "b" / "a.png"
    assert FileRules((root,)).spell(root / "a.png") == (root / "a.png").as_posix()


@given(st.lists(st.text(st.characters(exclude_categories=("C",), exclude_characters='/\\:*?[]"<>|.'), min_size=1, max_size=8), min_size=1))
def test_spell_round_trip(parts):
    """For every path under a mapped root, reading its spelling gives the path."""
    root = Path("/nowhere/data").resolve()
    files = FileRules((root,), maps=(("C:/show", str(root)), ("/mnt/x", str(root / "x"))))
    path = root.joinpath(*parts)
    assert files.to_read(files.spell(path)) == path


@given(st.text(max_size=40))
def test_any_text(text):
    """Any text is a path under the root, or refused."""
    root = Path("/nowhere/data").resolve()
    with contextlib.suppress(ArgumentError, PathError, UnsupportedFormat, DiskFull):
        assert FileRules((root,)).to_write(text).is_relative_to(root)


def test_one_file(files, root):
    """A file is one input, also if its name looks like a pattern."""
    touch(root, "a[1].png")
    found = files.to_read_all("a[1].png", ENDINGS)
    assert (found.paths, found.several) == ((root / "a[1].png",), False)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("s/smarteis.png", "There is no file smarteis.png in {root}/s.", "Did you mean smarties.png?"),
        ("s/SMARTEIS.PNG", "There is no file SMARTEIS.PNG in {root}/s.", "Did you mean smarties.png?"),
        ("s/zebra.png", "There is no file zebra.png in {root}/s.", ""),
        ("s/ smarties.png", "There is no file ' smarties.png' in {root}/s.", "Did you mean smarties.png?"),
        ("shott/day1/a.png", "There is no folder shott in {root}.", "Did you mean shots?"),
        ("s/smarties.png/a.png", "There is no folder smarties.png in {root}/s.", ""),
        ("shott", "There is no file shott in {root}.", "Did you mean shots?"),
        ("shott/*.png", "No image matches shott/*.png. There is no folder shott in {root}.", "Images end in .jpg .png."),
        ("shots/*.png", "No image matches shots/*.png. The folder is {root}/shots.", "Images end in .jpg .png."),
        ("shots", "There is no image in the folder {root}/shots.", "Images end in .jpg .png."),
        ("s/b*.png", "No image matches s/b*.png. The folder is {root}/s.", "Images end in .jpg .png."),
    ],
)
def test_missing(files, root, text, message, hint):
    """A name that is not there: which folder was looked in, and which visible names there are similar."""
    touch(root, "s/smarties.png", "s/.smarteis.png", "shots/a.txt")
    with pytest.raises(MissingFile) as caught:
        files.to_read_all(text, ENDINGS)
    assert (caught.value.message, caught.value.hint) == (message.format(root=root.as_posix()), hint)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere both names are one file")
def test_names_that_differ_in_case_alone(files, root):
    """It is not guessed which one is meant, so both are offered."""
    touch(root, "a.png", "A.PNG")
    with pytest.raises(MissingFile) as caught:
        files.to_read_file("a.Png")
    assert caught.value.hint == "Did you mean A.PNG or a.png?"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are Unicode")
def test_a_name_that_nobody_can_send_is_not_offered(files, root):
    """Linux lets a name have any bytes, such as those of a Latin-1 archive. No packet can carry them."""
    touch(root, os.fsdecode(b"b\xff.png"), "b\n.png", "bb.png")
    with pytest.raises(MissingFile) as caught:
        files.to_read_file("b.png")
    assert caught.value.hint == "Did you mean bb.png?"


def test_missing_in_a_mapped_folder(root):
    """The folder is told as the sender spells it."""
    files = FileRules((root,), maps=(("C:/show", str(root)),))
    with pytest.raises(MissingFile, match=r"There is no file a\.png in C:/show\."):
        files.to_read_file("C:/show/a.png")


@pytest.mark.parametrize(("stored", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_unicode_forms(files, root, stored, asked):
    """A name is found in both Unicode forms, in folders and patterns, too; a new file goes into the folder that is there."""
    stored, asked = (normalize(form, "Häuser/Tür.png") for form in (stored, asked))
    touch(root, stored)
    assert stored != asked
    assert files.to_read(asked) == root / stored
    assert files.to_read_all(asked, ENDINGS).paths == (root / stored,)
    assert files.to_read_all(asked.partition("/")[0], ENDINGS).paths == (root / stored,)
    assert files.to_read_all(asked.replace("r.png", "*.png"), ENDINGS).paths == (root / stored,)
    assert files.to_write(asked.replace("T", "t")).parent == (root / stored).parent


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="not on this system: it finds both cases by itself")
def test_another_case(files, root):
    """A name in another case is found if only one fits. A new file gets exactly the name that was sent."""
    touch(root, "Shots/A.PNG", "Shots/b.png", "Shots/B.png")
    assert files.to_read("shots/a.png") == root / "Shots" / "A.PNG"
    assert files.to_read("shots/B.png") == root / "Shots" / "B.png"
    touch(root, "two/c.png", "two/C.png")
    assert files.to_read("two/C.PNG") == root / "two" / "C.PNG"
    assert files.to_write("shots/a.png") == root / "shots" / "a.png"


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="not on this system: it finds both cases by itself")
def test_another_case_beside_a_new_folder(files, root):
    """A job that writes into `shots` makes that folder; what lies in `Shots` is found all the same, if it is there only once."""
    touch(root, "Shots/A.PNG", "Shots/b.png", "shots/out.png", "shots/b.png")
    assert files.to_read("shots/a.png") == root / "Shots" / "A.PNG"
    assert files.to_read("shots/b.png") == root / "shots" / "b.png"
    assert files.to_read("SHOTS/B.png") == root / "SHOTS" / "B.png"  # which of the two?


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="not on this system: it finds both cases by itself")
def test_pattern_in_another_case(files, root):
    """A pattern that matches nothing is tried in another case, in all its parts; one that matches something means just that."""
    touch(root, "Shots/IMG_1.JPG", "Shots/IMG_2.JPG", "Shots/a.jpg")
    first, second = root / "Shots" / "IMG_1.JPG", root / "Shots" / "IMG_2.JPG"
    assert files.to_read_all("shots/img_*.jpg", (".jpg",)).paths == (first, second)
    assert files.to_read_all("sho*/img_?.jpg", (".jpg",)).paths == (first, second)
    assert files.to_read_all("Shots/*.jpg", (".jpg",)).paths == (root / "Shots" / "a.jpg",)
    assert files.to_copy_all("**/img_[12].jpg") == (str(first), str(second))


@pytest.mark.skipif(os.name == "nt" or os.path.normcase("A") == "a", reason="not on this system: it finds both cases by itself")
def test_pattern_in_another_case_that_leaves_files_out(files, root, tmp_path, caplog):
    """What may not be read is spoken of, as in any search."""
    touch(tmp_path, "outside/x.png")
    (root / "IMG_2.JPG").symlink_to(tmp_path / "outside" / "x.png")
    with pytest.raises(MissingFile, match="1 files and folders were left out"):
        files.to_read_all("img_*.jpg", (".jpg",))
    touch(root, "IMG_1.JPG")
    for ask in (lambda text: files.to_read_all(text, (".jpg",)).paths, files.to_copy_all):
        caplog.clear()
        assert [*map(str, ask("img_*.jpg"))] == [str(root / "IMG_1.JPG")]
        assert "1 files and folders were left out" in caplog.text


def test_pattern_that_matches_nothing(files, root):
    """The sentence says in which folder, and which names there look like it."""
    touch(root, "graf1.jpg", "graf2.jpg", "x.txt")
    for ask in (lambda text: files.to_read_all(text, (".jpg",)), files.to_copy_all):
        with pytest.raises(MissingFile, match="matches grff") as caught:
            ask("grff*.jpg")
        assert str(root) in f"{caught.value.message} {caught.value.hint}"
        assert "Did you mean graf2.jpg or graf1.jpg?" in caught.value.hint


@pytest.mark.parametrize(("stored", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_unicode_forms_of_roots_and_maps(tmp_path, stored, asked):
    """They are known in both forms, too, with the file in any."""
    here, there = (normalize(form, "Läden") for form in (stored, asked))
    root = tmp_path.resolve() / here
    touch(root, "a.png")
    assert FileRules((root,)).to_read(str(root.parent / there / "a.png")) == root / "a.png"
    assert FileRules((root,)).to_write(str(root.parent / there / "new.png")) == root / "new.png"
    mapped = FileRules((root,), maps=((f"/Volumes/{here}", str(root)),))
    assert mapped.to_read(f"/Volumes/{there}/a.png") == root / "a.png"
    assert mapped.spell(root / "a.png") == f"/Volumes/{here}/a.png"


def test_another_form_behind_a_link(files, root, tmp_path):
    """A name in another form is not found behind a link that leads out, nor if it is such a link."""
    touch(tmp_path / "outside", "A.png")
    try:
        (root / "Out").symlink_to(tmp_path / "outside", target_is_directory=True)
        (root / "Link.png").symlink_to(tmp_path / "outside" / "A.png")
    except OSError:
        pytest.skip("this system lets us make no links")
    for text in ("out/A.png", "link.png", "Out/a.png"):
        with pytest.raises((PathError, MissingFile)) as caught:
            files.to_read_file(text)
        assert "outside" not in caught.value.message or caught.value.code == 403


@pytest.mark.parametrize("kind", ["an image", "text", "a video", "a file", "a copy"])
def test_endings_are_named_whole(files, kind):
    """What is said of the endings that fit is short enough to arrive as it is."""
    with pytest.raises(UnsupportedFormat, match="has no ending that this worker writes") as caught:
        files.to_write("a.toe", kind)
    failed = reports.failed("j" * MAX_ID_BYTES, 1, caught.value)
    assert (failed.message, failed.hint) == (caught.value.message, caught.value.hint)
    assert failed.hint


@pytest.mark.parametrize("unrestricted", [False, True])
@pytest.mark.parametrize(("name", "kind"), [("picture.png", "text"), ("notes.txt", "an image"), ("a.TIFF", "text")])
def test_kinds(root, name, kind, unrestricted):
    """Text does not replace an image, nor an image a text; the hint lists all endings that fit."""
    files = FileRules((root,), unrestricted=unrestricted)
    with pytest.raises(UnsupportedFormat, match=f"this job writes {kind}") as caught:
        files.to_write(str(root / name), kind)
    right = TEXT_ENDINGS if kind == "text" else IMAGE_ENDINGS
    assert set(re.findall(r"\.\w+", caught.value.hint)) == right
    for ending in right:
        assert files.to_write(str(root / f"a{ending}"), kind) == root / f"a{ending}"


@pytest.mark.parametrize("kind", ["an image", "text", "a file"])
def test_hints_are_whole(files, kind):
    """The list of endings fits into a report: nothing of it is cut off."""
    with pytest.raises(UnsupportedFormat) as caught:
        files.to_write("a.xyzzy", kind)
    assert len(caught.value.hint.encode()) <= LONGEST_HINT


def test_folder(files, root):
    """A folder stands for its images, in natural order, without hidden and unfinished files, folders and other files."""
    touch(
        root,
        *(f"s/{name}" for name in ("img10.png", "img2.png", "IMG1.JPG", ".img3.png", ".img4.png.7-1.part", "notes.txt", "x.png/y.txt")),
    )
    inputs = files.to_read_all("s", ENDINGS)
    assert [path.name for path in inputs.paths] == ["IMG1.JPG", "img2.png", "img10.png"]
    assert inputs.several


def test_pattern(files, root):
    """A pattern stands for the images that match it, in deeper folders, too, if it says so."""
    touch(root, "s/a2.png", "s/a10.png", "s/b.png", "s/a.txt", "s/deep/a1.png")
    assert [path.name for path in files.to_read_all("s\\a*", ENDINGS).paths] == ["a2.png", "a10.png"]
    assert len(files.to_read_all("s/**/a*.png", ENDINGS).paths) == 3
    assert files.to_read_all(str(root / "s" / "b.*"), ENDINGS).several


@pytest.mark.parametrize("text", ["s", "s/*.png", "nowhere/*.png", "*.txt"])
def test_no_match(files, root, text):
    """A folder or pattern without images is refused with a sentence that repeats it."""
    touch(root, "s/notes.txt", "b.txt")
    with pytest.raises(MissingFile, match=text.replace("*", r"\*")):
        files.to_read_all(text, ENDINGS)


@pytest.mark.parametrize("text", ["../*.png", "*/../../*.png", "/etc/*", "s/**x/../*.png"])
def test_pattern_outside(files, text):
    """A pattern leads out of the roots no more than a path does."""
    with pytest.raises((PathError, ArgumentError)):
        files.to_read_all(text, ENDINGS)


def test_pattern_through_a_link(files, root, tmp_path):
    """A pattern does not reach through a link that leads out."""
    touch(tmp_path / "outside", "a.png")
    try:
        (root / "out").symlink_to(tmp_path / "outside", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets us make no links")
    with pytest.raises(MissingFile, match="1 files and folders were left out"):
        files.to_read_all("*/a.png", ENDINGS)


def test_video(files):
    """A video is refused with a sentence of its own."""
    with pytest.raises(UnsupportedFormat, match="video"):
        files.to_read_all("clip.MOV", ENDINGS)
