#!/bin/sh
# `unpack.sh CRATE FOLDER`. All files of a crate are from 2006, so cargo would not see that they are others than before: they get
# the time of now, and nothing is touched, and compiled again, where the crate is the same.
set -eu
if ! cmp -s "$1" "$2.crate"; then
    rm -rf "$2" "$2.crate"
    mkdir -p "$2"
    tar -xzmf "$1" -C "$2" --strip-components=1
    cp "$1" "$2.crate"
fi
