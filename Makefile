# make demo   judge the clips of examples/clips with the stock pipeline
# make test   the whole test suite
# make chaos  runs under torment: processes killed, disks filled, links cut (needs root for the last two); longer than the suite
#             does, half an hour in all; TESTS="kills leaks" picks some of it, docs/deploy.md tells what else can be set
# make fuzz   everything that reads what strangers wrote, fed with mutants for CLIPSIEVE_FUZZ_SECONDS (60) each
# make lint   formatting and clippy, as CI runs them

CARGO ?= cargo
OUT := demo-output

.PHONY: setup build demo test chaos fuzz lint clean

setup:
	@bash scripts/setup.sh

build: setup
	$(CARGO) build --release --locked

demo: build
	@mkdir -p $(OUT)
	target/release/clipsieve run pipelines/video-quality.yaml --set input=examples/clips --set output=$(OUT)/results.jsonl --set crops=$(OUT)/crops
	@target/release/clipsieve show $(OUT)/results.jsonl

# Documentation tests are linked in a folder of their own, where the binaries' own search path leads nowhere.
test: setup
	LD_LIBRARY_PATH="$(CURDIR)/third_party/libtorch/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" \
	  $(CARGO) test --workspace --locked --no-fail-fast

chaos: setup
	LD_LIBRARY_PATH="$(CURDIR)/third_party/libtorch/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" \
	  CLIPSIEVE_CHAOS=1 $(CARGO) test --release --locked --test chaos -- $(TESTS)

fuzz: setup
	LD_LIBRARY_PATH="$(CURDIR)/third_party/libtorch/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" \
	  CLIPSIEVE_FUZZ_SECONDS=$${CLIPSIEVE_FUZZ_SECONDS:-60} $(CARGO) test --release --locked --test chaos -- are_answered
	PROPTEST_CASES=$${PROPTEST_CASES:-20000} $(CARGO) test --release --locked -p clipsieve-odps mutants

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

clean:
	$(CARGO) clean
	rm -rf $(OUT)
