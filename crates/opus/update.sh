#!/bin/sh
# Replaces the source of libopus by that of a checkout: update.sh CHECKOUT
set -eu
checkout=$1
cd "$(dirname "$0")"
rm -rf libopus
mkdir libopus
git -C "$checkout" archive HEAD celt silk src include COPYING AUTHORS | tar x -C libopus
git -C "$checkout" describe --tags --exact-match | sed 's/^v//' > libopus/VERSION
cd libopus
find . -name meson.build -delete
# Tests, demonstrations and tools.
rm -rf celt/tests silk/tests celt/dump_modes
rm -f celt/opus_custom_demo.c celt/mini_kfft.c src/*_compare.c src/*_demo.c
# Fixed point arithmetic and other architectures.
rm -rf silk/fixed celt/mips silk/mips celt/xtensa silk/xtensa
rm -f celt/fixed_c?x.h celt/static_modes_fixed*.h celt/static_modes_float_arm_ne10.h
rm -f celt/arm/*ne10* celt/arm/*.pl celt/arm/*.in celt/arm/*.s
# More than two channels.
rm -f src/opus_multistream* src/opus_projection* src/mapping_matrix.* include/opus_projection.h
