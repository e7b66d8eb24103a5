"""A folder as it was at a revision of git: what is released, for those who keep their contracts in a repository."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

from analytics_platform.errors import RevisionUnknown


def folder_at(folder: Path, revision: str, into: Path) -> Path:
    """Unpack a folder as it was; returns the copy, which has the folder's own name. The work tree is not touched.

    Args:
        folder: Inside a git work tree.
        revision: What git understands: `origin/main`, `v1.2`, a commit.
        into: An empty folder.

    Raises:
        RevisionUnknown: no git, no repository, no such revision. A folder that was not there then is an empty one.
    """
    if revision.startswith("-"):
        raise RevisionUnknown(folder, revision, "not the name of a revision")
    commit = _git(folder, revision, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    copy = into / folder.resolve().name
    copy.mkdir()
    listed = _git(folder, revision, "ls-tree", "-r", "-z", "--name-only", commit, ".").split(b"\0")[:-1]
    if not listed:
        return copy
    archive = _git(folder, revision, "archive", "--format=tar", commit, ".")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(copy, filter="data")
    if left_out := [name for name in listed if not (copy / os.fsdecode(name)).is_file()]:
        first = os.fsdecode(left_out[0])
        raise RevisionUnknown(
            folder, revision, f"{first} is no file that git archive gives out (export-ignore, a submodule?)"
        )
    return copy


def _git(folder: Path, revision: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False)
    except OSError as error:
        raise RevisionUnknown(folder, revision, f"git cannot be started ({error.strerror})") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RevisionUnknown(folder, revision, said[0] if said else "there is no such revision")
    return done.stdout
