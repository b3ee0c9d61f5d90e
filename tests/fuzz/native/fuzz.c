/* A small fuzzer that is guided by coverage, made of nothing but the compiler: mutate an input that once reached something
 * new, run it, keep it if it does so again. The same seed, corpus and count of runs make the same inputs.
 *
 *   native fuzz-values SEED RUNS SECONDS PRELUDE…           the codec's round trip, in this process
 *   native fuzz-events SEED RUNS SECONDS WORKFLOW PRELUDE…  a sequence of events, each in a process forked from the loaded guest
 *
 * SECONDS 0 is no limit. Numbers are u32 as this machine has them. Standard input: the count of the first inputs, each with
 * its size; then, for every batch, a byte for each of its inputs: whether whoever reads this wants it kept. Standard output,
 * batch by batch, for each input: size, bytes, outcome, whether the codec took a new way, consumed, produced, bytes. The
 * batch that has size END instead of an input ends with edges reached, edges there are, and inputs kept.
 *
 * What must hold is checked here as far as it concerns C alone, and `die`s with the input in hex.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "native.h"

enum { BATCH = 64, INPUT_MAX = 2048, EDGES_MAX = 1 << 14, OUTPUT_MAX = 1 << 20, HANGS_AFTER_S = 20 };
static const uint32_t END = UINT32_MAX;

/* ---- coverage ---- */

struct input {
    size_t size;
    uint8_t bytes[INPUT_MAX];
};

/* Shared with forked children. */
static struct shared {
    uint8_t taken[EDGES_MAX]; /* how often in this run, up to 255 */
    int32_t fault;
    uint32_t produced;
    uint8_t output[OUTPUT_MAX];
} *shared;
static uint32_t edges;
static uint8_t seen[EDGES_MAX]; /* per edge the magnitudes that were seen, as bits */
static struct input current;

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) {
    for (; start < stop && !*start; start++)
        *start = ++edges < EDGES_MAX ? edges : 0;
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
    if (shared && shared->taken[*guard] < 255)
        shared->taken[*guard]++;
}

static uint8_t magnitude(uint8_t count) {
    static const uint8_t from[] = {1, 2, 3, 4, 8, 16, 32, 128};
    int bit = 7;
    while (count < from[bit])
        bit--;
    return (uint8_t)(1 << bit);
}

/* Adds what this run took to what was seen. */
static bool took_a_new_way(void) {
    bool new = false;
    for (uint32_t i = 1; i <= edges && i < EDGES_MAX; i++) {
        uint8_t bit = shared->taken[i] ? magnitude(shared->taken[i]) : 0;
        new |= (seen[i] | bit) != seen[i];
        seen[i] |= bit;
    }
    return new;
}

static uint32_t edges_reached(void) {
    uint32_t count = 0;
    for (uint32_t i = 1; i <= edges && i < EDGES_MAX; i++)
        count += seen[i] != 0;
    return count;
}

static void forget_run(void) { memset(shared->taken, 0, sizeof shared->taken); }

/* ---- findings ---- */

static void show_current(int signal) {
    static const char digits[] = "0123456789abcdef";
    char text[2 * INPUT_MAX + 8] = "\ninput: ";
    size_t at = 8;
    for (size_t i = 0; i < current.size && at + 3 < sizeof text; i++) {
        text[at++] = digits[current.bytes[i] >> 4];
        text[at++] = digits[current.bytes[i] & 15];
    }
    text[at++] = '\n';
    if (write(2, text, at) < 0 || signal)
        _exit(3);
}

static void find(const char *what) {
    fprintf(stderr, "finding: %s", what);
    show_current(SIGABRT);
}

static void watch_signals(void) {
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], show_current);
}

/* ---- chance ---- */

static uint64_t chance;

static uint64_t next(void) {
    uint64_t z = chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(size_t limit) { return limit ? (size_t)(next() % limit) : 0; }

/* ---- mutation ---- */

static struct input *corpus;
static size_t kept, room_for;

static void keep(const struct input *input) {
    if (kept == room_for) {
        room_for = room_for ? room_for * 2 : 256;
        corpus = realloc(corpus, room_for * sizeof *corpus);
        if (!corpus)
            die("out of memory");
    }
    corpus[kept++] = *input;
}

static void replace(struct input *to, size_t at, size_t old, const void *bytes, size_t size) {
    if (at > to->size || old > to->size - at || to->size - old + size > INPUT_MAX)
        return;
    memmove(to->bytes + at + size, to->bytes + at + old, to->size - at - old);
    memmove(to->bytes + at, bytes, size); /* `bytes` may be of another input only */
    to->size = to->size - old + size;
}

#define WORD(text) {text, sizeof text - 1}
static const struct {
    const char *bytes;
    size_t size;
} words[] = {
    WORD("\x80"), WORD("\x81"), WORD("\x82"), WORD("\x83"), WORD("\xa0"), WORD("\xa1"), WORD("\xa2"), WORD("\x40"),
    WORD("\x60"), WORD("\x61""a"), WORD("\x61""b"), WORD("\x62""aa"), WORD("\xf4"), WORD("\xf6"), WORD("\xf7"),
    WORD("\xf9\x7e\x00"), WORD("\xf9\x7c\x00"), WORD("\xf9\xfc\x00"), WORD("\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
    WORD("\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"), WORD("\xfb\x43\x40\x00\x00\x00\x00\x00\x00"), WORD("\x18\x18"), WORD("\x19\x01\x00"),
    WORD("\x1a\x00\x01\x00\x00"), WORD("\x1b\x00\x00\x00\x01\x00\x00\x00\x00"), WORD("\x1b\x00\x1f\xff\xff\xff\xff\xff\xff"),
    WORD("\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"), WORD("\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), WORD("\x9f"), WORD("\xff"), WORD("\xc1"),
    WORD("\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"), WORD("\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"), WORD("\xc0\x74"),
    WORD("\xc0\x74" "2024-02-29T23:59:59Z"), WORD("\xc0\x78\x18" "0001-01-01T00:00:00.000Z"),
    WORD("\xc0\x78\x19" "9999-12-31T23:59:59-00:01"), WORD(".999999999"), WORD("0000"), WORD("+23:59"), WORD("T24:00"), WORD(":60"),
    WORD("\x64""name"), WORD("\x67message"), WORD("\x65""cause"), WORD("\x64""data"), WORD("\x65state"), WORD("\x67""context"),
    WORD("\x69__proto__"), WORD("\x62""10"), WORD("\xc3\xa9"), WORD("\xed\xa0\x80"), WORD("\xf0\x9f\x98\x80"), WORD("\xef\xbf\xbd"),
    WORD("\x85\x00\x00\x50"), WORD("\x84\x01\x00\x01"), WORD("\x84\x02\x00\x01"), WORD("\x84\x03\x00\x01"), WORD("\x83\x04\x00\x01"),
    WORD("\x84\x05\x00\x01"), WORD("\x84\x06\x00\x01\x82\x00"), WORD("\x82\x07\x00"), WORD("\x84\x08\x00\x01\x82\x01"),
};

static void mutate_once(struct input *input) {
    size_t at = below(input->size + 1), span = 1 + below(8);
    const struct input *other = &corpus[below(kept)];
    size_t from = below(other->size), part = 1 + below(other->size - from);
    size_t word = below(sizeof words / sizeof *words);
    uint8_t byte = (uint8_t)next();
    struct input self;
    switch (below(11)) {
    case 0: byte = at < input->size ? input->bytes[at] ^ (uint8_t)(1 << below(8)) : byte; /* fall through */
    case 1: replace(input, at, at < input->size, &byte, 1); return;
    case 2: byte = at < input->size ? (uint8_t)(input->bytes[at] + below(7) - 3) : byte; replace(input, at, at < input->size, &byte, 1); return;
    case 3: replace(input, at, 0, &byte, 1); return;
    case 4: replace(input, at, span < input->size - at ? span : input->size - at, "", 0); return;
    case 5:
    case 6: replace(input, at, 0, words[word].bytes, words[word].size); return;
    case 7: replace(input, at, words[word].size, words[word].bytes, words[word].size); return;
    case 8: replace(input, at, 0, other->bytes + from, other->size ? part : 0); return;
    case 9: replace(input, at, part, other->bytes + from, other->size ? part : 0); return;
    default: /* the same once more, up to many times: lengths and depths grow */
        self = *input;
        for (size_t times = (size_t)1 << below(7); times--;)
            replace(input, at, 0, self.bytes + at, span < self.size - at ? span : self.size - at);
    }
}

static void mutate(struct input *input) {
    const struct input *one = &corpus[below(kept)], *other = &corpus[below(kept)];
    *input = one->size < other->size ? *one : *other; /* small ones are tried more often: they are faster, and clearer */
    for (size_t times = 1 + below(4); times--;)
        mutate_once(input);
}

/* ---- the loop ---- */

struct result {
    uint8_t outcome; /* of a value, or a fault without its sign */
    uint32_t consumed, produced;
    const uint8_t *output;
};
typedef struct result run(const struct input *input, bool *is_new);

static void send(const void *bytes, size_t size) {
    if (size && fwrite(bytes, 1, size, stdout) != size)
        exit(0); /* no one listens any more */
}

static void put_number(uint32_t number) { send(&number, sizeof number); }

static bool get(void *bytes, size_t size) { return !size || fread(bytes, 1, size, stdin) == size; }

struct batch {
    struct input inputs[BATCH];
    bool is_new[BATCH];
    int size;
};

static void try_one(run *run, struct batch *batch) {
    batch->inputs[batch->size] = current;
    alarm(HANGS_AFTER_S);
    struct result result = run(&current, &batch->is_new[batch->size]);
    put_number((uint32_t)current.size);
    send(current.bytes, current.size);
    send(&result.outcome, 1);
    send(&batch->is_new[batch->size++], 1);
    put_number(result.consumed);
    put_number(result.produced);
    send(result.output, result.produced);
}

/* Waits for what the other side says of the batch. */
static void settle(struct batch *batch) {
    uint8_t wanted[BATCH];
    alarm(0);
    fflush(stdout);
    if (!get(wanted, (size_t)batch->size))
        exit(0);
    for (int i = 0; i < batch->size; i++)
        if (batch->is_new[i] || wanted[i])
            keep(&batch->inputs[i]);
    batch->size = 0;
}

/* All of them are read before the first is tried: what follows on the same way are answers. */
static struct input *read_first_inputs(uint32_t *count) {
    uint32_t size;
    if (!get(count, sizeof *count))
        die("no first inputs");
    struct input *inputs = calloc(*count + 1, sizeof *inputs);
    if (!inputs)
        die("out of memory");
    for (uint32_t i = 0; i < *count; i++) {
        if (!get(&size, sizeof size) || size > INPUT_MAX || !get(inputs[i].bytes, size))
            die("a first input is cut off or too long");
        inputs[i].size = size;
    }
    return inputs;
}

static void try_first_inputs(run *run, struct batch *batch) {
    uint32_t count;
    struct input *inputs = read_first_inputs(&count);
    for (uint32_t i = 0; i < count; i++) {
        current = inputs[i];
        try_one(run, batch);
        if (batch->size == BATCH || i + 1 == count)
            settle(batch);
    }
    if (!kept)
        keep(&inputs[count]); /* an empty one */
    free(inputs);
}

static void loop(char **argv, run *run) {
    static struct batch batch;
    unsigned long long runs = strtoull(argv[1], NULL, 10);
    time_t seconds = (time_t)strtoull(argv[2], NULL, 10), begun = time(NULL);
    chance = strtoull(argv[0], NULL, 10);
    try_first_inputs(run, &batch);
    while (runs && !(seconds && time(NULL) - begun >= seconds)) {
        while (batch.size < BATCH) {
            mutate(&current);
            try_one(run, &batch);
        }
        runs -= runs < BATCH ? runs : BATCH; /* always whole batches */
        settle(&batch);
    }
    put_number(END);
    put_number(edges_reached());
    put_number(edges);
    put_number((uint32_t)kept);
    fflush(stdout);
}

static void prepare(int argc, int wanted) {
    if (argc < wanted)
        die("see fuzz.c for the arguments");
    void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("no shared memory");
    shared = memory;
}

/* ---- values ---- */

/* A refusal, too, must give back all it took. What QuickJS makes once and keeps is there after the first time. */
static void check_leaks(const struct input *input) {
    long before = live_allocations;
    value_round_trip(input->bytes, input->size);
    long after_one = live_allocations;
    value_round_trip(input->bytes, input->size);
    if (live_allocations - after_one > 0 && after_one - before > 0)
        find("memory stays taken after a round trip");
}

static void check_again(const struct round_trip *first) {
    uint8_t *output = copy(OUTPUT_WINDOW, first->produced);
    struct round_trip second = value_round_trip(output, first->produced);
    bool same = second.outcome == CAME_BACK && second.consumed == first->produced && second.produced == first->produced &&
                !memcmp(output, OUTPUT_WINDOW, first->produced);
    if (!same)
        find("what was written does not come back as it is");
    free(output);
}

static struct result run_value(const struct input *input, bool *is_new) {
    long before = live_allocations;
    forget_run();
    struct round_trip trip = value_round_trip(input->bytes, input->size);
    *is_new = took_a_new_way();
    if (live_allocations != before)
        check_leaks(input);
    if (trip.outcome == CAME_BACK) {
        trip = value_round_trip(input->bytes, input->size);
        check_again(&trip);
    }
    return (struct result){(uint8_t)trip.outcome, (uint32_t)trip.consumed, (uint32_t)trip.produced, OUTPUT_WINDOW};
}

int fuzz_values(int argc, char **argv) {
    prepare(argc, 4);
    for (int i = 3; i < argc; i++)
        run_prelude(argv[i]);
    watch_signals();
    loop(argv, run_value);
    return 0;
}

/* ---- events ---- */

static void collect_output(const uint8_t *bytes, size_t size) {
    size_t room = OUTPUT_MAX - shared->produced;
    memcpy(shared->output + shared->produced, bytes, size < room ? size : room);
    shared->produced += (uint32_t)(size < room ? size : room);
}

/* In a child, which ends with it: the guest that is here is never used up. */
static void deliver_in_child(const struct input *input, bool one_by_one) {
    int status;
    shared->produced = 0;
    pid_t child = fork();
    if (child < 0)
        die("cannot fork");
    if (!child) {
        alarm(HANGS_AFTER_S);
        memcpy(INPUT_WINDOW, input->bytes, input->size);
        shared->fault = (one_by_one ? deliver_one_by_one : deliver_all)((uint32_t)input->size, collect_output);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))
        find("the guest crashed");
}

/* Up to a fault, which takes the output of a whole turn with it, the outputs are the same. */
static void check_batching(const struct input *input) {
    uint32_t produced = shared->produced;
    int32_t fault = shared->fault;
    uint8_t *output = copy(shared->output, produced);
    deliver_in_child(input, true);
    if (shared->fault != fault || shared->produced < produced || memcmp(output, shared->output, produced) ||
        (!fault && shared->produced != produced))
        find("one by one, the events have another answer");
    free(output);
}

static struct result run_events(const struct input *input, bool *is_new) {
    forget_run();
    deliver_in_child(input, false);
    *is_new = took_a_new_way();
    if (*is_new || !below(8))
        check_batching(input);
    return (struct result){(uint8_t)-shared->fault, 0, shared->produced, shared->output};
}

int fuzz_events(int argc, char **argv) {
    prepare(argc, 5);
    for (int i = 4; i < argc; i++)
        run_prelude(argv[i]);
    load_workflow(argv[3]);
    watch_signals();
    loop(argv, run_events);
    return 0;
}
