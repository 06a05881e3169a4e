/* A libnvidia-ml.so.1 for tests: answers pynvml's calls with what a text file says at that moment.
 *
 * MUSTER_NVML_FILE names the file; it is read anew at each call. Without the file there is no driver.
 * One word and its values a line; what stands before the first `gpu` line is the driver's.
 *
 *   driver VERSION            gpu                           starts the next card
 *   uuid TEXT                 name TEXT                     memory TOTAL RESERVED USED    (MiB)
 *   utilisation PERCENT       temperature CELSIUS           power MILLIWATTS
 *   clocks SM MEMORY          compute PID MIB               graphics PID MIB    (MIB -1: not known)
 *   error FUNCTION CODE       the call fails; FUNCTION may be *   hang FUNCTION   it waits while the line stands
 *
 * An error or hang before the first `gpu` line counts for every card too. As with the real one, a session
 * that saw the driver go answers "uninitialized" until the next init, and a process whose library does not
 * fit the driver (18) is never answered otherwise. Nothing is checked: the test is trusted.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, LIB_RM_VERSION_MISMATCH = 18, UNKNOWN = 999 };
enum { CARDS = 16, PROCESSES = 32, RULES = 32, COMPUTE = 0, GRAPHICS = 1 };
static const uint64_t MIB = 1024 * 1024;

typedef struct { char call[64]; int code; int hang; } Rule;
typedef struct { uint32_t pid; uint64_t memory; uint32_t gpu_instance, compute_instance; } Process;
typedef struct {
    char uuid[96], name[96];
    uint64_t total, reserved, used;
    unsigned utilisation, temperature, power, sm_clock, memory_clock;
    Process processes[2][PROCESSES];
    unsigned count[2];
    Rule rules[RULES];
    unsigned rule_count;
} Card;

static Card cards[CARDS + 1]; /* [0] holds the driver's own rules */
static unsigned card_count;
static char driver[80];
static int initialised, mismatched;

static void add_process(Card *card, int kind, const char *values) {
    unsigned pid;
    long long mib;
    if (sscanf(values, "%u %lld", &pid, &mib) != 2 || card->count[kind] == PROCESSES) return;
    Process process = {pid, mib < 0 ? UINT64_MAX : (uint64_t)mib * MIB, UINT32_MAX, UINT32_MAX};
    card->processes[kind][card->count[kind]++] = process;
}

static void add_rule(Card *card, const char *values, int hang) {
    if (card->rule_count == RULES) return;
    Rule *rule = &card->rules[card->rule_count++];
    rule->code = 0;
    rule->hang = hang;
    sscanf(values, "%63s %d", rule->call, &rule->code);
}

static void take(Card *card, const char *word, const char *values) {
    unsigned long long total, reserved, used;
    if (!strcmp(word, "driver")) snprintf(driver, sizeof driver, "%s", values);
    if (!strcmp(word, "uuid")) snprintf(card->uuid, sizeof card->uuid, "%s", values);
    if (!strcmp(word, "name")) snprintf(card->name, sizeof card->name, "%s", values);
    if (!strcmp(word, "memory") && sscanf(values, "%llu %llu %llu", &total, &reserved, &used) == 3) {
        card->total = total * MIB;
        card->reserved = reserved * MIB;
        card->used = used * MIB;
    }
    if (!strcmp(word, "utilisation")) sscanf(values, "%u", &card->utilisation);
    if (!strcmp(word, "temperature")) sscanf(values, "%u", &card->temperature);
    if (!strcmp(word, "power")) sscanf(values, "%u", &card->power);
    if (!strcmp(word, "clocks")) sscanf(values, "%u %u", &card->sm_clock, &card->memory_clock);
    if (!strcmp(word, "compute")) add_process(card, COMPUTE, values);
    if (!strcmp(word, "graphics")) add_process(card, GRAPHICS, values);
    if (!strcmp(word, "error")) add_rule(card, values, 0);
    if (!strcmp(word, "hang")) add_rule(card, values, 1);
}

/* Reads the file; 0 when there is none. */
static int read_file(void) {
    const char *path = getenv("MUSTER_NVML_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], word[32];
    if (!file) return 0;
    memset(cards, 0, sizeof cards);
    card_count = 0;
    while (fgets(line, sizeof line, file)) {
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%31s %n", word, &at) < 1) continue;
        if (!strcmp(word, "gpu") && card_count < CARDS) card_count++;
        else take(&cards[card_count], word, line + at);
    }
    fclose(file);
    return 1;
}

static const Rule *rule_for(const Card *card, const char *call) {
    for (unsigned i = 0; i < card->rule_count; i++)
        if (!strcmp(card->rules[i].call, call) || !strcmp(card->rules[i].call, "*")) return &card->rules[i];
    return NULL;
}

/* What stands in the way of this call now; waits as long as the file says that it hangs. */
static int ruled(unsigned number, const char *call) {
    for (;;) {
        if (!read_file()) return DRIVER_NOT_LOADED;
        const Rule *rule = rule_for(&cards[number], call);
        if (!rule) rule = rule_for(&cards[0], call);
        if (!rule || !rule->hang) return rule ? rule->code : OK;
        usleep(20000);
    }
}

static int driver_call(const char *call) {
    if (!initialised) return UNINITIALIZED;
    int code = ruled(0, call);
    if (code == DRIVER_NOT_LOADED) initialised = 0; /* a session does not outlive its driver */
    return code == DRIVER_NOT_LOADED ? UNKNOWN : code;
}

static int card_call(const Card *handle, const char *call, const Card **card) {
    unsigned number = (unsigned)(handle - cards);
    if (!initialised) return UNINITIALIZED;
    if (number < 1 || number > CARDS) return INVALID_ARGUMENT;
    int code = ruled(number, call);
    if (code == DRIVER_NOT_LOADED) initialised = 0;
    *card = &cards[number];
    return code == DRIVER_NOT_LOADED ? UNKNOWN : code;
}

#define DRIVER_CALL() do { int code_ = driver_call(__func__); if (code_) return code_; } while (0)
#define CARD_CALL() const Card *card; \
    do { int code_ = card_call(handle, __func__, &card); if (code_) return code_; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (mismatched) return LIB_RM_VERSION_MISMATCH;
    int code = ruled(0, __func__);
    mismatched = code == LIB_RM_VERSION_MISMATCH;
    if (!code) initialised = 1;
    return code;
}

int nvmlShutdown(void) {
    DRIVER_CALL();
    initialised = 0;
    return OK;
}

const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    DRIVER_CALL();
    snprintf(version, length, "%s", driver);
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    DRIVER_CALL();
    *count = card_count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, const Card **handle) {
    if (!initialised) return UNINITIALIZED;
    if (index >= CARDS) return INVALID_ARGUMENT;
    int code = ruled(index + 1, __func__);
    if (code) return code == DRIVER_NOT_LOADED ? UNKNOWN : code;
    if (index >= card_count) return INVALID_ARGUMENT;
    *handle = &cards[index + 1];
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, const Card **handle) {
    DRIVER_CALL();
    for (unsigned i = 1; i <= card_count; i++)
        if (!strcmp(cards[i].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(i - 1, handle);
    return NOT_FOUND;
}

/* A call that fills one structure or number. */
#define FIGURE(name, type, ...) \
    int name(const Card *handle, type *into) { CARD_CALL(); *into = (type){__VA_ARGS__}; return OK; }
#define TEXT(name, text) \
    int name(const Card *handle, char *into, unsigned length) { CARD_CALL(); snprintf(into, length, "%s", text); return OK; }

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Rates;
typedef struct { unsigned version, sensor; int celsius; } Temperature;

TEXT(nvmlDeviceGetName, card->name)
TEXT(nvmlDeviceGetUUID, card->uuid)
FIGURE(nvmlDeviceGetIndex, unsigned, (unsigned)(card - cards) - 1)
/* The first version counts the driver's own share as used. */
FIGURE(nvmlDeviceGetMemoryInfo, Memory,
       card->total, card->total - card->reserved - card->used, card->reserved + card->used)
FIGURE(nvmlDeviceGetMemoryInfo_v2, MemoryV2,
       into->version, card->total, card->reserved, card->total - card->reserved - card->used, card->used)
FIGURE(nvmlDeviceGetUtilizationRates, Rates, card->utilisation, 0)
FIGURE(nvmlDeviceGetTemperatureV, Temperature, into->version, into->sensor, (int)card->temperature)
FIGURE(nvmlDeviceGetPowerUsage, unsigned, card->power)

int nvmlDeviceGetTemperature(const Card *handle, unsigned sensor, unsigned *celsius) {
    CARD_CALL();
    (void)sensor;
    *celsius = card->temperature;
    return OK;
}

int nvmlDeviceGetClockInfo(const Card *handle, unsigned type, unsigned *mhz) {
    CARD_CALL();
    *mhz = type == 2 ? card->memory_clock : card->sm_clock;
    return OK;
}

/* As documented: no room gives INSUFFICIENT_SIZE and the number, none running gives OK and 0. */
static int processes(const Card *card, int kind, unsigned *count, Process *into) {
    unsigned room = *count;
    *count = card->count[kind];
    if (*count > room) return INSUFFICIENT_SIZE;
    if (into) memcpy(into, card->processes[kind], *count * sizeof *into);
    return OK;
}

#define PROCESSES_CALL(name, kind) \
    int name(const Card *handle, unsigned *count, Process *into) { CARD_CALL(); return processes(card, kind, count, into); }

PROCESSES_CALL(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE)
PROCESSES_CALL(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE)
PROCESSES_CALL(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS)
PROCESSES_CALL(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS)
