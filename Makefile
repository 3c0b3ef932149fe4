# make            set the machine up where something is missing, and build into build/
# make demo       explain a small CNN on real digits; pictures in build/demo/
# make test       all tests, then the C and command-line tests under the sanitizers
# make check-long what takes long: Ray, Spark, DuckDB, MLServer; OX_LONG=SECONDS (3600) of fuzzing on each
#                 target, 100,000 random graphs, faults, other machines, and the two below
# make check-static    clang-tidy, cppcheck and gcc's analyzer over what is shipped
# make check-sanitize  the whole suite under the sanitizers, threads under the thread sanitizer, valgrind
# make coverage   which lines the whole suite runs, by folder (an hour)
# make web        the page of web/, served on localhost
# make bench      measure against peers; writes docs/benchmarks.md (an hour or more)
# make wheel      a wheel that carries what it needs, in dist/
# make release    what a version consists of, in dist/: the tarball, the wheel, Debian packages, the bill of
#                 materials (SPDX); `make dist` the tarball alone
# make docs       the documentation as a site, in build/site
# make format     clang-format over the sources
# make install    into PREFIX (/usr/local), below DESTDIR
# make clean      remove what was built; `make distclean` the Python packages, too

PYTHON ?= python3
PREFIX ?= /usr/local

.PHONY: all setup test check-long check-static check-sanitize coverage demo web bench wheel dist release docs format install \
        clean distclean

all: setup
	@test -f build/build.ninja -a -z "$(ONNXRUNTIME_ROOT)" || cmake --preset default
	@cmake --build build

setup:
	@PYTHON=$(PYTHON) tools/setup

test: all
	@PYTHON=$(PYTHON) tools/setup --docs clang clang-tidy jq mandoc zsh npm chromium
	@build/venv/bin/python tools/test

check-long: all
	@PYTHON=$(PYTHON) tools/setup clang afl++ default-jre-headless
	@PYTHON=$(PYTHON) tools/check-long

check-static: all
	@PYTHON=$(PYTHON) tools/setup clang-tidy cppcheck
	@tools/check-static

check-sanitize: all
	@PYTHON=$(PYTHON) tools/setup valgrind
	@tools/check-sanitize

coverage: all
	@tools/coverage

demo: all
	@tools/demo

web: all
	@PYTHON=$(PYTHON) tools/setup npm
	@build/venv/bin/python tools/web --serve

bench: all
	@PYTHON=$(PYTHON) bench/compare --all --write

wheel: all
	@tools/wheel

dist:
	@tools/dist

release: all
	@PYTHON=$(PYTHON) tools/setup debhelper dpkg-dev
	@tools/dist
	@tools/wheel
	@tools/deb
	@tools/sbom

docs: all
	@PYTHON=$(PYTHON) tools/setup --docs
	@NO_MKDOCS_2_WARNING=1 build/venv/bin/python -m mkdocs build -q
	@echo "build/site/index.html"

format:
	clang-format -i $(wildcard include/*.h os/*.[ch] src/*/*.[ch] cli/*.[ch] ops/*.[ch] tests/*.[ch] examples/*.c)

install: all
	@cmake build -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build build
	cmake --install build

clean:
	rm -rf $(filter-out build/venv build/onnxruntime,$(wildcard build/*))

distclean:
	rm -rf build
