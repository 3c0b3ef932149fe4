#!/bin/bash -eu
# In OSS-Fuzz's builder, in the sources: targets with their seeds and the libraries that they need,
# in $OUT. CC, CFLAGS and LIB_FUZZING_ENGINE say with what.
targets="explain shapes tune arrays kernels"

[ -d build/venv ] || python3 -m venv build/venv
build/venv/bin/python -m pip install -q -r tools/requirements.txt
cmake -S . -B build/oss -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_C_FLAGS="$CFLAGS" -DOX_WERROR=OFF -DOX_FUZZ=ON \
    -DOX_FUZZ_ENGINE="$LIB_FUZZING_ENGINE;${OX_CXX_LIBRARY--lc++}"
for target in $targets; do
    cmake --build build/oss --target "fuzz_$target"
done

build/venv/bin/python fuzz/seeds.py build/oss/seeds tests/recorded examples
mkdir -p "$OUT/lib"
for target in $targets; do
    program=$OUT/fuzz_$target
    cp "build/oss/fuzz/fuzz_$target" "$program"
    # Libraries of the system and our own travel with it, but those of the C library.
    LD_LIBRARY_PATH=$PWD/build/oss ldd "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' |
        grep -vE '/(libc|libm|libdl|libpthread|librt|libgcc_s|ld-linux[^/]*)\.so' |
        xargs -I{} cp -Ln {} "$OUT/lib/"
    patchelf --set-rpath "\$ORIGIN/lib" "$program"
    case $target in shapes) seeds=explain ;; *) seeds=$target ;; esac
    for folder in "build/oss/seeds/$seeds" "fuzz/corpus/$seeds" "fuzz/found/$target"; do
        [ ! -d "$folder" ] || zip -qjr "${program}_seed_corpus.zip" "$folder"
    done
    printf '[libfuzzer]\nmax_len = 8192\n' >"$program.options"
done
