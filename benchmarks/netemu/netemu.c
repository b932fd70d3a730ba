/* netemu: a bad network between two network namespaces, in user space.
 *
 * For kernels without the netem queueing discipline. It opens a TUN device "tun0" in each of two existing
 * namespaces and carries IPv4 and IPv6 packets between them through a link with a rate and a queue, then through
 * faults, then through a delay. benchmarks/netemu/namespaces.py builds, starts and ends it; by hand:
 *
 *   cc -O2 -o netemu netemu.c -lm
 *   ip netns add a; ip netns add b
 *   ./netemu a b delay=25 rate=100 queue=50 loss=1 seed=7 &
 *   # wait for READY on standard output, then give both devices addresses and raise them:
 *   ip -n a addr add 10.9.0.1/30 dev tun0; ip -n a link set tun0 up; ip -n a link set lo up
 *   ip -n b addr add 10.9.0.2/30 dev tun0; ip -n b link set tun0 up; ip -n b link set lo up
 *
 * `netemu --help` lists the options. SIGTERM or SIGINT ends it; it then writes its counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_PACKET = 1 << 16,   /* bytes; an IP packet is shorter */
    MAX_HELD = 1 << 16,     /* packets on their way, per direction */
    MAX_READ = 64,          /* packets read from one device before the other one is looked at */
    MAX_LINE = 1024         /* bytes of one command */
};

#define USAGE \
    "usage: netemu NAMESPACE NAMESPACE [NAME=VALUE | NAME=FORTH/BACK ...] [seed=N] [control]\n" \
    "\n" \
    "  delay, jitter   ms, one way; jitter is added at random, from nothing to all of it,  [0, 0]\n" \
    "                  so that packets may overtake each other\n" \
    "  rate            Mbit/s of IP packets; 0: without limit                              [0]\n" \
    "  queue           ms that a packet may wait for the link before it is dropped         [100]\n" \
    "  loss            percent of packets at which a run of losses begins                  [0]\n" \
    "  burst           packets in the longest run of losses                                [1]\n" \
    "  duplicate       percent that arrive twice                                           [0]\n" \
    "  reorder         percent that are held for 5 to 30 ms more than the others           [0]\n" \
    "  corrupt         percent of UDP datagrams with one bit of their payload flipped,     [0]\n" \
    "                  and a UDP checksum that fits, so that the receiver gets them\n" \
    "  on, off         ms; a blackhole of `off` after every `on`, from when that was set   [0, 0]\n" \
    "  mtu             bytes of IP packet; larger ones vanish; 0: none do                  [0]\n" \
    "  seed            of all chance; the order of packets is still the machine's          [1]\n" \
    "  control         take commands from standard input: a line of NAME=VALUE... changes these\n" \
    "                  values, `report` writes the counts; each is answered by one line. When\n" \
    "                  standard input ends, so does netemu, and removes the namespaces' names.\n" \
    "\n" \
    "A value with a slash differs by direction: FORTH is from the first namespace to the second.\n"

struct packet {
    int64_t due;      /* ns */
    uint64_t order;   /* of arrival: packets due at the same time stay in order */
    int length;
    unsigned char *bytes;
};

struct conditions {
    double delay, jitter, rate, queue, loss, burst, duplicate, reorder, corrupt, on, off, mtu;
};

struct direction {
    struct conditions now;
    struct packet *heap;     /* a binary heap by due time, for jitter and reordering */
    int held, losing;
    uint64_t order;
    int64_t link_free;       /* ns; when the link will have sent all that it took */
    long in, out, lost, overflowed, blackholed, too_large, duplicated, corrupted, reordered, failed;
};

static const struct field {
    const char *name;
    size_t offset;
    double least, most;
} FIELDS[] = {
    {"delay", offsetof(struct conditions, delay), 0, 1e6},
    {"jitter", offsetof(struct conditions, jitter), 0, 1e6},
    {"rate", offsetof(struct conditions, rate), 0, 1e6},
    {"queue", offsetof(struct conditions, queue), 0, 1e6},
    {"loss", offsetof(struct conditions, loss), 0, 100},
    {"burst", offsetof(struct conditions, burst), 1, 1e6},
    {"duplicate", offsetof(struct conditions, duplicate), 0, 100},
    {"reorder", offsetof(struct conditions, reorder), 0, 100},
    {"corrupt", offsetof(struct conditions, corrupt), 0, 100},
    {"on", offsetof(struct conditions, on), 0, 1e9},
    {"off", offsetof(struct conditions, off), 0, 1e9},
    {"mtu", offsetof(struct conditions, mtu), 0, MAX_PACKET},
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };

static struct direction directions[2];
static int64_t set_at;  /* ns; when the conditions were set */
static uint64_t chance_state = 88172645463325252ULL;
static volatile sig_atomic_t ending;

static void end(int signal_number)
{
    (void)signal_number;
    ending = 1;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("netemu: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double uniform(void)  /* xorshift64*, Marsaglia and Vigna */
{
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return (chance_state * 2685821657736338717ULL >> 11) * (1.0 / 9007199254740992.0);
}

static int chance(double percent) { return percent > 0 && uniform() * 100 < percent; }

/* Set one NAME=VALUE or NAME=FORTH/BACK; answers what is wrong with it, or NULL. */
static const char *set(char *word)
{
    char *value = strchr(word, '=');
    if (!value) return "is not NAME=VALUE";
    *value++ = 0;
    if (!strcmp(word, "seed")) {
        char *rest;
        errno = 0;
        unsigned long long seed = strtoull(value, &rest, 10);
        if (errno || rest == value || *rest || *value == '-') return "is not a whole number";
        chance_state = seed * 2654435761ULL + 88172645463325252ULL;
        if (!chance_state) chance_state = 1;
        for (int i = 0; i < 16; i++) uniform();
        return NULL;
    }
    for (int f = 0; f < FIELD_COUNT; f++) {
        if (strcmp(word, FIELDS[f].name)) continue;
        double values[2];
        char *rest;
        values[0] = values[1] = strtod(value, &rest);
        if (rest == value) return "is not a number";
        if (*rest == '/') {
            value = rest + 1;
            values[1] = strtod(value, &rest);
            if (rest == value) return "is not a number behind the slash";
        }
        if (*rest) return "is not a number";
        for (int i = 0; i < 2; i++)
            if (!isfinite(values[i]) || values[i] < FIELDS[f].least || values[i] > FIELDS[f].most) return "is out of range";
        for (int i = 0; i < 2; i++) *(double *)((char *)&directions[i].now + FIELDS[f].offset) = values[i];
        return NULL;
    }
    return "is not known";
}

static void report(FILE *file)
{
    fputc('[', file);
    for (int i = 0; i < 2; i++) {
        struct direction *d = &directions[i];
        fprintf(file,
                "%s{\"in\": %ld, \"out\": %ld, \"held\": %d, \"lost\": %ld, \"overflowed\": %ld, \"blackholed\": %ld, "
                "\"too_large\": %ld, \"duplicated\": %ld, \"corrupted\": %ld, \"reordered\": %ld, \"failed\": %ld}",
                i ? ", " : "", d->in, d->out, d->held, d->lost, d->overflowed, d->blackholed, d->too_large, d->duplicated,
                d->corrupted, d->reordered, d->failed);
    }
    fputs("]\n", file);
    fflush(file);
}

static int open_tun(const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "/run/netns/%s", name) >= (int)sizeof path) die("namespace name too long");
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0) die("%s: %s", path, strerror(errno));
    if (setns(namespace, CLONE_NEWNET)) die("entering namespace %s: %s", name, strerror(errno));
    close(namespace);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) die("/dev/net/tun: %s", strerror(errno));
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    strcpy(request.ifr_name, "tun0");
    if (ioctl(tun, TUNSETIFF, &request)) die("making tun0 in namespace %s: %s", name, strerror(errno));
    return tun;
}

static void forget_namespace(const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "/run/netns/%s", name) >= (int)sizeof path) return;
    umount2(path, MNT_DETACH);
    unlink(path);
}

static int earlier(const struct packet *a, const struct packet *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void push(struct direction *d, struct packet p)
{
    int i = d->held++;
    for (; i && earlier(&p, &d->heap[(i - 1) / 2]); i = (i - 1) / 2) d->heap[i] = d->heap[(i - 1) / 2];
    d->heap[i] = p;
}

static struct packet pop(struct direction *d)
{
    struct packet top = d->heap[0], last = d->heap[--d->held];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= d->held) break;
        if (child + 1 < d->held && earlier(&d->heap[child + 1], &d->heap[child])) child++;
        if (!earlier(&d->heap[child], &last)) break;
        d->heap[i] = d->heap[child];
        i = child;
    }
    d->heap[i] = last;
    return top;
}

/* Where the UDP header of a whole (not fragmented) UDP datagram is, or 0. */
static int udp_header(const unsigned char *bytes, int length)
{
    int header = 0;
    if (length >= 28 && bytes[0] >> 4 == 4 && bytes[9] == 17 && !(bytes[6] & 0x3f) && !bytes[7])
        header = (bytes[0] & 15) * 4;
    else if (length >= 48 && bytes[0] >> 4 == 6 && bytes[6] == 17)
        header = 40;
    return header >= 20 && header + 8 < length ? header : 0;
}

/* Flip one bit of a UDP payload and mend the checksum (RFC 1624), so that the stack does not drop it for us. */
static int flip_bit(unsigned char *bytes, int length)
{
    int udp = udp_header(bytes, length);
    if (!udp) return 0;
    int at = udp + 8 + (int)(uniform() * (length - udp - 8));
    int word = at - ((at - udp) & 1);  /* the 16-bit word, counted from the UDP header, that the byte is in */
    uint32_t old = bytes[word] << 8 | (word + 1 < length ? bytes[word + 1] : 0);
    bytes[at] ^= 1 << (int)(uniform() * 8);
    uint32_t new = bytes[word] << 8 | (word + 1 < length ? bytes[word + 1] : 0);
    uint32_t sum = bytes[udp + 6] << 8 | bytes[udp + 7];
    if (sum) {  /* 0: sent without one */
        sum = (~sum & 0xffff) + (~old & 0xffff) + new;
        while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
        sum = ~sum & 0xffff;
        if (!sum) sum = 0xffff;
        bytes[udp + 6] = sum >> 8;
        bytes[udp + 7] = sum & 0xff;
    }
    return 1;
}

/* A packet came out of a device: queue, link, faults, delay. */
static void take(struct direction *d, const unsigned char *bytes, int length)
{
    const struct conditions *c = &d->now;
    int64_t t = clock_ns();
    d->in++;
    if (c->mtu && length > c->mtu) { d->too_large++; return; }
    if (c->off && fmod((t - set_at) / 1e6, c->on + c->off) >= c->on) { d->blackholed++; return; }
    if (d->link_free < t || !c->rate) d->link_free = t;
    if (d->link_free - t > c->queue * 1e6 || d->held > MAX_HELD - 2) { d->overflowed++; return; }
    if (c->rate) d->link_free += (int64_t)(length * 8e3 / c->rate);
    if (d->losing > 0) { d->losing--; d->lost++; return; }
    if (chance(c->loss)) { d->losing = (int)(uniform() * c->burst); d->lost++; return; }
    int copies = 1;
    if (chance(c->duplicate)) { copies = 2; d->duplicated++; }
    while (copies--) {
        struct packet p = {0, d->order++, length, malloc(length)};
        if (!p.bytes) { d->failed++; return; }  /* a network that loses for want of memory is still a network */
        memcpy(p.bytes, bytes, length);
        p.due = d->link_free + (int64_t)(c->delay * 1e6) + (int64_t)(uniform() * c->jitter * 1e6);
        if (chance(c->reorder)) { p.due += (int64_t)((5 + uniform() * 25) * 1e6); d->reordered++; }
        if (chance(c->corrupt) && flip_bit(p.bytes, length)) d->corrupted++;
        push(d, p);
    }
}

/* Obey one line from standard input and answer it with one. */
static void obey(char *line)
{
    if (!strcmp(line, "report")) { report(stdout); return; }
    for (char *rest, *word = strtok_r(line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        const char *fault = set(word);
        if (fault) { printf("error: %s %s\n", word, fault); fflush(stdout); return; }
    }
    set_at = clock_ns();
    puts("ok");
    fflush(stdout);
}

/* Read what standard input has; answers 0 when it has ended. */
static int read_commands(void)
{
    static char line[MAX_LINE];
    static size_t used;
    ssize_t got = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (!got) return 0;
    used += got;
    line[used] = 0;
    for (char *newline; (newline = strchr(line, '\n'));) {
        *newline = 0;
        obey(line);
        used -= newline + 1 - line;
        memmove(line, newline + 1, used + 1);
    }
    if (used == sizeof line - 1) { used = 0; puts("error: line too long"); fflush(stdout); }
    return 1;
}

int main(int count, char **arguments)
{
    int control = 0;
    for (int i = 1; i < count; i++)
        if (!strcmp(arguments[i], "--help") || !strcmp(arguments[i], "-h")) { fputs(USAGE, stdout); return 0; }
    if (count < 3 || strchr(arguments[1], '=') || strchr(arguments[2], '=')) { fputs(USAGE, stderr); return 2; }
    for (int i = 0; i < 2; i++) directions[i].now = (struct conditions){.queue = 100, .burst = 1};
    for (int i = 3; i < count; i++) {
        if (!strcmp(arguments[i], "control")) { control = 1; continue; }
        const char *fault = set(arguments[i]);
        if (fault) { fprintf(stderr, "netemu: %s %s\n\n%s", arguments[i], fault, USAGE); return 2; }
    }
    for (int i = 0; i < 2; i++)
        if (!(directions[i].heap = malloc(MAX_HELD * sizeof(struct packet)))) die("out of memory");
    int tuns[2] = {open_tun(arguments[1]), open_tun(arguments[2])};

    /* The signals are let in while waiting only, so that none is missed between the check and the wait. */
    struct sigaction action = {.sa_handler = end};
    sigset_t held, waiting;
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    if (sigprocmask(SIG_BLOCK, &held, &waiting) || sigaction(SIGTERM, &action, NULL) || sigaction(SIGINT, &action, NULL))
        die("signals: %s", strerror(errno));
    sigdelset(&waiting, SIGTERM);
    sigdelset(&waiting, SIGINT);
    signal(SIGPIPE, SIG_IGN);

    struct sched_param priority = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &priority);  /* better timing where it is allowed; not needed otherwise */
    puts("READY");
    fflush(stdout);

    static unsigned char buffer[MAX_PACKET];
    set_at = clock_ns();
    while (!ending) {
        int64_t t = clock_ns(), next = t + 100000000;
        for (int i = 0; i < 2; i++) {
            struct direction *d = &directions[i];
            while (d->held && d->heap[0].due <= t) {
                struct packet p = pop(d);
                if (write(tuns[1 - i], p.bytes, p.length) < 0) d->failed++; else d->out++;
                free(p.bytes);
            }
            if (d->held && d->heap[0].due < next) next = d->heap[0].due;
        }
        int64_t wait = next - clock_ns();
        if (wait < 0) wait = 0;
        struct timespec timeout = {wait / 1000000000, wait % 1000000000};
        struct pollfd ready[3] = {{tuns[0], POLLIN, 0}, {tuns[1], POLLIN, 0}, {control ? STDIN_FILENO : -1, POLLIN, 0}};
        if (ppoll(ready, 3, &timeout, &waiting) < 0) {
            if (errno == EINTR) continue;
            die("poll: %s", strerror(errno));
        }
        for (int i = 0; i < 2; i++) {
            if (ready[i].revents & (POLLERR | POLLHUP | POLLNVAL)) die("tun0 of namespace %s is gone", arguments[1 + i]);
            for (int k = 0; (ready[i].revents & POLLIN) && k < MAX_READ; k++) {
                ssize_t length = read(tuns[i], buffer, sizeof buffer);
                if (length <= 0) break;
                take(&directions[i], buffer, (int)length);
            }
        }
        if (ready[2].revents && !read_commands()) break;
    }
    if (control) {
        forget_namespace(arguments[1]);
        forget_namespace(arguments[2]);
    }
    report(stderr);
    return 0;
}
