#!/usr/bin/env python3
"""Builds the packages once more, from a copy of the source in another folder, into
build/packages-again. ccache spares the compiler what it has seen in this tree;
CCACHE_DISABLE=1 spares nothing, and takes as long as the first build."""

import os
import shutil
import subprocess
import sys

import support


def main():
    folder = support.Folder()
    # What the length or the depth of a path changes, it changes here.
    copy = folder.path / "a/folder/of/quite/another/name/and/length"
    try:
        shutil.copytree(support.TOP, copy, symlinks=True,
                        ignore=shutil.ignore_patterns("build", ".git"))
        # Another place and another mask, too.
        return subprocess.call([copy / "scripts/package", "--to", support.AGAIN], umask=0o027,
                               env=dict(os.environ, TZ="Pacific/Chatham"))
    finally:
        folder.remove()


if __name__ == "__main__":
    sys.exit(main())
