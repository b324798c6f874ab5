/* Sends conversations that grow, each step the whole again, over kept connections; counts what comes back.
 *
 *   load PORT PATH FILE CONNECTIONS SECONDS REQUESTS RATE EVENTS FIRST [HEADER ...]
 *
 * FILE: a line of lengths (where the number of the conversation stands, head, tail, each step), then the bytes. Ends
 * after SECONDS or REQUESTS, whichever is first. RATE 0: every connection asks again as soon as it has its answer; else
 * so many a second, and a latency counts from the moment when it was due. EVENTS: what a stream must have; 0: no
 * stream. FIRST: number of the first conversation. Prints one line of JSON; times in milliseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD, SIZED, CHUNK_SIZE, CHUNK, CHUNK_END, LAST };
#define PATIENCE_NS 60000000000LL

typedef struct {
    int fd, busy, state, ok, close, held, events, matched, step;
    char head[16384], size[32], number[16], told[64];
    long long rest, due, first;
    size_t sent, length; /* of the request */
    struct iovec parts[40];
    int count;
} connection;

static struct {
    int port, connections, events, steps, conversation;
    char *head, *tail, *prefix, **step;
    size_t head_length, tail_length, number_at, *step_length;
} set;

static connection *all;
static long long *took, *firsts, errors, events, cut, asked, limit;
static size_t answered;
static int epoll;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(connection *c, int how, int what) {
    struct epoll_event e = {.events = what, .data.u32 = c - all};
    epoll_ctl(epoll, how, c->fd, &e);
}

static void connect_to(connection *c) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(set.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (void *)&a, sizeof a)) die("load: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void part(connection *c, void *data, size_t length) {
    c->parts[c->count].iov_base = data, c->parts[c->count++].iov_len = length, c->length += length;
}

static void push(connection *c) {
    while (c->sent < c->length) {
        struct iovec left[40];
        size_t skip = c->sent;
        int n = 0;
        for (int i = 0; i < c->count; i++) {
            if (skip >= c->parts[i].iov_len) {
                skip -= c->parts[i].iov_len;
                continue;
            }
            left[n].iov_base = (char *)c->parts[i].iov_base + skip, left[n++].iov_len = c->parts[i].iov_len - skip;
            skip = 0;
        }
        struct msghdr message = {.msg_iov = left, .msg_iovlen = n};
        ssize_t taken = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken < 0) {
            if (errno == EAGAIN) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return; /* a connection that is gone is found when it is read */
        }
        c->sent += taken;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void ask(connection *c, long long due) {
    if (c->step > set.steps) c->step = 0;
    if (c->step == 0) sprintf(c->number, "%08d", set.conversation++ % 100000000);
    c->busy = 1, c->due = due, c->first = 0, c->state = HEAD, c->held = 0, c->close = 0, c->events = 0, c->matched = 0;
    c->sent = c->length = c->count = 0;
    part(c, set.prefix, strlen(set.prefix));
    part(c, c->told, 0);
    part(c, set.head, set.number_at);
    part(c, c->number, 8);
    part(c, set.head + set.number_at + 8, set.head_length - set.number_at - 8);
    for (int i = 0; i < c->step; i++) part(c, set.step[i], set.step_length[i]);
    part(c, set.tail, set.tail_length);
    size_t told = sprintf(c->told, "%zu\r\n\r\n", c->length - strlen(set.prefix));
    c->parts[1].iov_len = told, c->length += told;
    c->step++, asked++;
    push(c);
}

static int finish(connection *c, long long now) {
    c->busy = 0;
    if (!c->ok || c->events < set.events) {
        c->ok ? cut++ : errors++;
        return 1;
    }
    took[answered] = now - c->due, firsts[answered++] = c->first - c->due;
    return 1;
}

static void count_events(connection *c, const char *data, long long length) {
    static const char word[] = "data:";
    if (!set.events) return;
    for (const char *end = data + length; data < end; data++) {
        c->matched = *data == word[c->matched] ? c->matched + 1 : *data == 'd';
        if (c->matched == 5) c->events++, events++, c->matched = 0;
    }
}

static void read_head(connection *c) {
    c->head[c->held] = 0;
    c->ok = !memcmp(c->head + 9, "200", 3);
    if (!c->ok && errors < 2) fprintf(stderr, "%.300s\n", c->head);
    char *length = strcasestr(c->head, "\ncontent-length:");
    c->close = strcasestr(c->head, "\nconnection: close") != 0;
    c->state = strcasestr(c->head, "\ntransfer-encoding:") ? CHUNK_SIZE : SIZED;
    c->rest = length ? atoll(length + 16) : 1LL << 60;
    c->held = 0;
}

/* One piece of the answer; 1 once that is whole. `*data` moves on. */
static int read_some(connection *c, const char **data, const char *end, long long now) {
    if (c->state == HEAD) {
        c->head[c->held++] = *(*data)++;
        if (c->held > 16380) die("load: a head of 16 KB");
        if (c->held < 4 || memcmp(c->head + c->held - 4, "\r\n\r\n", 4)) return 0;
        read_head(c);
        return c->state == SIZED && !c->rest ? finish(c, c->first = now) : 0;
    }
    if (c->state == SIZED || c->state == CHUNK) {
        long long length = end - *data < c->rest ? end - *data : c->rest;
        if (!c->first) c->first = now;
        if (!c->ok && errors < 2) fprintf(stderr, "%.*s\n", (int)(length < 500 ? length : 500), *data);
        count_events(c, *data, length);
        *data += length, c->rest -= length;
        if (c->rest) return 0;
        if (c->state == SIZED) return finish(c, now);
        c->state = CHUNK_END;
        return 0;
    }
    char ch = *(*data)++;
    if (c->state == CHUNK_SIZE && ch != '\n') {
        if (c->held < 31) c->size[c->held++] = ch;
    } else if (ch == '\n') {
        if (c->state == LAST) return finish(c, now);
        if (c->state == CHUNK_SIZE) {
            c->size[c->held] = 0, c->held = 0, c->rest = strtoll(c->size, 0, 16);
            c->state = c->rest ? CHUNK : LAST;
        } else
            c->state = CHUNK_SIZE;
    }
    return 0;
}

/* Read what has come; 1 once an answer is whole or lost. */
static int take(connection *c) {
    static char buffer[262144];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    long long now = now_ns();
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) {
        int done = c->busy;
        if (c->busy) {
            if (c->state != SIZED || c->rest < 1LL << 50) c->ok = 0;
            finish(c, now);
        }
        close(c->fd);
        connect_to(c);
        return done;
    }
    const char *data = buffer;
    int done = 0;
    while (data < buffer + n && !done) done = read_some(c, &data, buffer + n, now);
    if (done && c->close) {
        close(c->fd);
        connect_to(c);
    }
    return done;
}

static int by_size(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return x < y ? -1 : x > y;
}

static double at(long long *sorted, double share) {
    return answered ? sorted[(size_t)((answered - 1) * share)] / 1e6 : 0;
}

static void read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fscanf(f, "%zu %zu %zu %d", &set.number_at, &set.head_length, &set.tail_length, &set.steps) != 4) die(path);
    set.step = calloc(set.steps + 1, sizeof *set.step), set.step_length = calloc(set.steps + 1, sizeof(size_t));
    for (int i = 0; i < set.steps; i++)
        if (fscanf(f, "%zu", &set.step_length[i]) != 1) die(path);
    fgetc(f);
    set.head = malloc(set.head_length), set.tail = malloc(set.tail_length);
    size_t got = fread(set.head, 1, set.head_length, f);
    for (int i = 0; i < set.steps; i++)
        got += fread(set.step[i] = malloc(set.step_length[i]), 1, set.step_length[i], f);
    got += fread(set.tail, 1, set.tail_length, f);
    fclose(f);
    if (set.steps > 30 || got < set.head_length + set.tail_length) die(path);
}

static int pending(void) {
    int n = 0;
    for (int i = 0; i < set.connections; i++) n += all[i].busy;
    return n;
}

static void run(double seconds, double rate) {
    long long begun = now_ns(), end = begun + seconds * 1e9, step = rate > 0 ? 1e9 / rate : 0, next = begun;
    struct epoll_event ready[256];
    for (int i = 0; !step && i < set.connections && asked < limit; i++) ask(&all[i], now_ns());
    for (;;) {
        long long now = now_ns();
        int over = now >= end || asked >= limit;
        if (over && (!pending() || now > end + PATIENCE_NS)) break;
        while (step && !over && next <= now) {
            int i = 0;
            while (i < set.connections && all[i].busy) i++;
            if (i == set.connections) break;
            ask(&all[i], next);
            next += step, over = asked >= limit;
        }
        long long wait = step && !over ? (next - now) / 1000000 : 100;
        int n = epoll_wait(epoll, ready, 256, wait < 0 ? 1 : wait);
        for (int i = 0; i < n; i++) {
            connection *c = &all[ready[i].data.u32];
            if (ready[i].events & EPOLLOUT) push(c);
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && take(c) && !step && now_ns() < end && asked < limit)
                ask(c, now_ns());
        }
    }
    double took_s = (now_ns() - begun) / 1e9;
    qsort(took, answered, sizeof *took, by_size), qsort(firsts, answered, sizeof *firsts, by_size);
    printf("{\"answered\":%zu,\"errors\":%lld,\"cut\":%lld,\"lost\":%d,\"seconds\":%.4f,\"events\":%lld,"
           "\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"first_p50_ms\":%.4f,\"first_p99_ms\":%.4f}\n",
           answered, errors, cut, pending(), took_s, events, at(took, .5), at(took, .99), at(firsts, .5), at(firsts, .99));
}

int main(int count, char **argument) {
    if (count < 10) {
        fprintf(stderr, "load PORT PATH FILE CONNECTIONS SECONDS REQUESTS RATE EVENTS FIRST [HEADER ...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    set.port = atoi(argument[1]), set.connections = atoi(argument[4]), limit = atoll(argument[6]);
    set.events = atoi(argument[8]), set.conversation = atoi(argument[9]);
    read_file(argument[3]);
    size_t room = 8192;
    set.prefix = malloc(room);
    size_t n = snprintf(set.prefix, room, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                        "Accept: */*\r\nUser-Agent: OpenAI/Python 2.8.0\r\n", argument[2], set.port);
    for (int i = 10; i < count; i++) n += snprintf(set.prefix + n, room - n, "%s\r\n", argument[i]);
    snprintf(set.prefix + n, room - n, "Content-Length: ");
    took = malloc(limit * sizeof *took + 8), firsts = malloc(limit * sizeof *firsts + 8);
    all = calloc(set.connections, sizeof *all), epoll = epoll_create1(0);
    for (int i = 0; i < set.connections; i++) connect_to(&all[i]);
    run(atof(argument[5]), atof(argument[7]));
    return 0;
}
