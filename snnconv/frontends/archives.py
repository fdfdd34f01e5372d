"""Zip archives as torch writes them: their sizes are checked before anything is unpacked."""

import zipfile


def refuse_packed(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse entries that torch does not write, which could unpack to any size.

    Args:
        archive: open.
        size: bytes of its file.

    Raises:
        ValueError: an entry is compressed, or all of them hold more than the file.
    """
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("compressed entries, which torch does not write")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("entries that hold more than the file")
