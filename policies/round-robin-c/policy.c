// Each host in its turn, over all engines of the fleet: what policies/round-robin does,
// in C, with the same words.
//
// The turn is a ticket from a counter that all engines share: the ticket modulo the
// number of hosts, in the order of their ids, names the host to begin with; hosts that
// take no agent are walked past. There is nothing to set.
//
// Memory: what a call is given is this policy's from then on. It keeps the hosts' ids,
// and frees the rest before it returns. What a call answers is allocated here, and
// freed by the generated code as soon as it was read.

#include "placement.h"

#include <stdlib.h>
#include <string.h>

// What the policy keeps of a host.
struct host {
    placement_string_t id;
    uint32_t capacity;
    uint32_t running;
    exports_policy_standing_t standing;
};

// All hosts there are, sorted by the bytes of their ids.
static struct {
    struct host *hosts;
    size_t count;
    // Hosts for which there is memory.
    size_t room;
} fleet;

// Whether `configure` took settings. Until then the policy knows nothing.
static bool configured;

// --- memory and text ----------------------------------------------------------------

// Makes `memory` larger, or new when it is NULL. Without memory there is no going on:
// the service sees a trap, and says that the policy ran out of memory.
static void *allocate(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void append_bytes(placement_string_t *text, const void *bytes, size_t length) {
    if (length == 0) {
        return;
    }
    text->ptr = allocate(text->ptr, text->len + length);
    memcpy(text->ptr + text->len, bytes, length);
    text->len += length;
}

static void append(placement_string_t *text, const char *words) {
    append_bytes(text, words, strlen(words));
}

// By hand, because `printf` and its kind bring files along, which a policy does not have.
static void append_number(placement_string_t *text, uint64_t number) {
    char digits[20]; // 2^64 has as many
    size_t start = sizeof digits;
    do {
        digits[--start] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    append_bytes(text, digits + start, sizeof digits - start);
}

static placement_string_t copy(const placement_string_t *text) {
    placement_string_t copied = {NULL, 0};
    append_bytes(&copied, text->ptr, text->len);
    return copied;
}

// Less than, equal to or greater than 0, as `a` comes before `b`, is `b`, or comes after it.
static int compare(const placement_string_t *a, const placement_string_t *b) {
    int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

// --- the fleet ----------------------------------------------------------------------

static bool is_at(const placement_string_t *id, size_t at) {
    return at < fleet.count && compare(&fleet.hosts[at].id, id) == 0;
}

// Where the host of this id is, or where it would have to be. Takes O(log n).
static size_t position_of(const placement_string_t *id) {
    // A whole fleet comes in order: then each host goes to the end.
    if (fleet.count == 0 || compare(&fleet.hosts[fleet.count - 1].id, id) < 0) {
        return fleet.count;
    }
    size_t low = 0;
    size_t high = fleet.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&fleet.hosts[middle].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// Makes room for a host at this position: those behind it move up.
static void open_gap(size_t at) {
    if (fleet.count == fleet.room) {
        fleet.room = fleet.room == 0 ? 16 : 2 * fleet.room;
        fleet.hosts = allocate(fleet.hosts, fleet.room * sizeof *fleet.hosts);
    }
    struct host *gap = fleet.hosts + at;
    memmove(gap + 1, gap, (fleet.count - at) * sizeof *gap);
    fleet.count++;
}

// The candidate's id becomes the fleet's; nothing is left in the candidate.
static void upsert(exports_policy_candidate_t *candidate) {
    struct host host = {
        .id = candidate->id,
        .capacity = candidate->capacity,
        .running = candidate->running,
        .standing = candidate->standing,
    };
    candidate->id = (placement_string_t){NULL, 0};
    exports_policy_candidate_free(candidate);

    size_t at = position_of(&host.id);
    if (is_at(&host.id, at)) {
        placement_string_free(&fleet.hosts[at].id);
    } else {
        open_gap(at);
    }
    fleet.hosts[at] = host;
}

static void remove_host(placement_string_t *id) {
    size_t at = position_of(id);
    if (is_at(id, at)) {
        struct host *gone = fleet.hosts + at;
        placement_string_free(&gone->id);
        fleet.count--;
        memmove(gone, gone + 1, (fleet.count - at) * sizeof *gone);
    }
    placement_string_free(id);
}

static void forget_fleet(void) {
    for (size_t at = 0; at < fleet.count; at++) {
        placement_string_free(&fleet.hosts[at].id);
    }
    fleet.count = 0;
}

// --- the decision -------------------------------------------------------------------

// Why a host takes no agent.
enum obstacle { NONE, DRAINING, CORDONED, EXCLUDED, FULL, OBSTACLES };

static const char *const OBSTACLE_NAMES[OBSTACLES] = {
    [DRAINING] = "draining",
    [CORDONED] = "cordoned",
    [EXCLUDED] = "excluded",
    [FULL] = "full",
};

static bool excludes(const exports_policy_request_t *request, const struct host *host) {
    for (size_t at = 0; at < request->excluded.len; at++) {
        if (compare(&request->excluded.ptr[at], &host->id) == 0) {
            return true;
        }
    }
    return false;
}

static enum obstacle obstacle(const exports_policy_request_t *request, const struct host *host) {
    switch (host->standing) {
    case EXPORTS_POLICY_STANDING_OPEN:
        break;
    case EXPORTS_POLICY_STANDING_CORDONED:
        return CORDONED;
    default:
        return DRAINING;
    }
    if (excludes(request, host)) {
        return EXCLUDED;
    }
    return host->running >= host->capacity ? FULL : NONE;
}

// The first host that takes the agent, from the one whose turn it is; NULL when none does.
// There must be hosts.
static const struct host *next_in_turn(const exports_policy_request_t *request) {
    size_t first = (size_t)(request->ticket.val % fleet.count);
    for (size_t step = 0; step < fleet.count; step++) {
        const struct host *host = &fleet.hosts[(first + step) % fleet.count];
        if (obstacle(request, host) == NONE) {
            return host;
        }
    }
    return NULL;
}

// One choice, and why.
static void choose(const struct host *host, uint64_t ticket, exports_policy_list_choice_t *choices) {
    placement_string_t reason = {NULL, 0};
    append(&reason, "ticket ");
    append_number(&reason, ticket);
    append(&reason, " over ");
    append_number(&reason, fleet.count);
    append(&reason, " hosts");

    choices->ptr = allocate(NULL, sizeof *choices->ptr);
    choices->len = 1;
    *choices->ptr = (exports_policy_choice_t){.host = copy(&host->id), .score = 0.0, .reason = reason};
}

// Hosts that a refusal names for each obstacle.
enum { HOSTS_NAMED = 10 };

// One more in the list, which has room for it, of no hosts yet.
static exports_policy_rejection_t *new_rejection(exports_policy_list_rejection_t *list, enum obstacle why) {
    exports_policy_rejection_t *rejection = &list->ptr[list->len++];
    *rejection = (exports_policy_rejection_t){0};
    append(&rejection->reason, OBSTACLE_NAMES[why]);
    rejection->hosts.ptr = allocate(NULL, HOSTS_NAMED * sizeof *rejection->hosts.ptr);
    return rejection;
}

static void count_host(exports_policy_rejection_t *rejection, const struct host *host) {
    rejection->count++;
    if (rejection->hosts.len < HOSTS_NAMED) {
        rejection->hosts.ptr[rejection->hosts.len++] = copy(&host->id);
    }
}

// What stood in the way, in the order in which the fleet has it. Every host has some obstacle.
static exports_policy_list_rejection_t count_obstacles(const exports_policy_request_t *request) {
    exports_policy_list_rejection_t list = {NULL, 0};
    list.ptr = allocate(NULL, OBSTACLES * sizeof *list.ptr);
    exports_policy_rejection_t *known[OBSTACLES] = {NULL};
    for (size_t at = 0; at < fleet.count; at++) {
        const struct host *host = &fleet.hosts[at];
        enum obstacle why = obstacle(request, host);
        if (known[why] == NULL) {
            known[why] = new_rejection(&list, why);
        }
        count_host(known[why], host);
    }
    return list;
}

// Refuses for one reason, in these words.
static void refuse(const char *reason, exports_policy_refusal_t *refusal) {
    *refusal = (exports_policy_refusal_t){0};
    append(&refusal->reason, reason);
}

// Refuses because of all that stood in the way.
static void refuse_all(const exports_policy_request_t *request, exports_policy_refusal_t *refusal) {
    refuse("none of ", refusal);
    placement_string_t *reason = &refusal->reason;
    append_number(reason, fleet.count);
    append(reason, " hosts will do");
    refusal->rejections = count_obstacles(request);
    for (size_t nth = 0; nth < refusal->rejections.len; nth++) {
        const exports_policy_rejection_t *rejection = &refusal->rejections.ptr[nth];
        append(reason, nth == 0 ? ": " : ", ");
        append_number(reason, rejection->count);
        append(reason, " ");
        append_bytes(reason, rejection->reason.ptr, rejection->reason.len);
    }
}

static bool place(
    const exports_policy_request_t *request,
    exports_policy_list_choice_t *choices,
    exports_policy_refusal_t *refusal
) {
    if (!configured) {
        refuse("the policy was not configured", refusal);
        return false;
    }
    if (!request->ticket.is_some) {
        refuse("the request carries no ticket", refusal);
        return false;
    }
    if (fleet.count == 0) {
        refuse("there are no hosts", refusal);
        return false;
    }
    const struct host *host = next_in_turn(request);
    if (host == NULL) {
        refuse_all(request, refusal);
        return false;
    }
    choose(host, request->ticket.val, choices);
    return true;
}

// --- what placement.wit asks for ----------------------------------------------------

bool exports_policy_configure(
    exports_policy_list_setting_t *settings,
    exports_policy_inputs_t *inputs,
    placement_string_t *error
) {
    bool none = settings->len == 0;
    if (none) {
        forget_fleet();
        configured = true;
        *inputs = EXPORTS_POLICY_INPUTS_TICKET;
    } else {
        *error = copy(&settings->ptr[0].path);
        append(error, ": is not a setting of this policy");
    }
    exports_policy_list_setting_free(settings);
    return none;
}

void exports_policy_observe(exports_policy_list_change_t *changes) {
    for (size_t at = 0; at < changes->len; at++) {
        exports_policy_change_t *change = &changes->ptr[at];
        if (!configured) {
            exports_policy_change_free(change);
        } else if (change->tag == EXPORTS_POLICY_CHANGE_UPSERT) {
            upsert(&change->val.upsert);
        } else {
            remove_host(&change->val.remove);
        }
    }
    // Each change is freed by now, or the fleet's: this is the list alone.
    if (changes->len > 0) {
        free(changes->ptr);
    }
}

bool exports_policy_place(
    exports_policy_request_t *request,
    exports_policy_list_choice_t *choices,
    exports_policy_refusal_t *refusal
) {
    bool placed = place(request, choices, refusal);
    exports_policy_request_free(request);
    return placed;
}

void exports_settings_schema(placement_string_t *schema) {
    *schema = (placement_string_t){NULL, 0};
    append(schema, "{\"type\": \"object\", \"additionalProperties\": false}");
}
