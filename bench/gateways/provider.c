/* A provider that costs nearly nothing: OpenAI's chat completions, plain or streamed, one thread, epoll.
 *
 *   provider PORT          (0: any free one; the port is printed)
 *
 * A stream has 20 events at 2 ms, or as the request's text says: "@EVENTSxMICROSECONDS@". The body is searched and not
 * parsed, so that it costs the same whoever rewrote it.
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
#include <time.h>
#include <unistd.h>

#define CHUNK "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\"," \
              "\"created\":1741569952,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":"

typedef struct connection {
    int fd;
    char *in;
    size_t held, room;
    char *out; /* what the kernel would not take yet */
    size_t waiting;
    int sent, events; /* of the stream that is open; 0 events: none is */
    long long interval, due;
    struct connection *next, *previous;
} connection;

static connection streams = {.next = &streams, .previous = &streams};
static char plain[4096];
static int plain_length, epoll;

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void watch(connection *c, int how) {
    struct epoll_event e = {.events = how, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void put(connection *c, const char *data, size_t length) {
    if (!c->waiting)
        while (length) {
            ssize_t taken = send(c->fd, data, length, MSG_NOSIGNAL);
            if (taken < 0) break;
            data += taken, length -= taken;
        }
    if (!length) return;
    c->out = realloc(c->out, c->waiting + length);
    memcpy(c->out + c->waiting, data, length);
    c->waiting += length;
    watch(c, EPOLLIN | EPOLLOUT);
}

static void put_rest(connection *c) {
    ssize_t taken = send(c->fd, c->out, c->waiting, MSG_NOSIGNAL);
    if (taken <= 0) return;
    memmove(c->out, c->out + taken, c->waiting -= taken);
    if (!c->waiting) watch(c, EPOLLIN);
}

static void end_stream(connection *c) {
    if (!c->events) return;
    c->events = 0;
    c->next->previous = c->previous, c->previous->next = c->next;
}

static void put_event(connection *c) {
    char text[1024], framed[1100];
    int last = c->sent == c->events, n;
    if (!last)
        n = snprintf(text, sizeof text, "data: " CHUNK "{%s\"content\":\" token%d\"},\"finish_reason\":null}]}\n\n",
                     c->sent ? "" : "\"role\":\"assistant\",", c->sent);
    else
        n = snprintf(text, sizeof text,
                     "data: " CHUNK "{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":250,"
                     "\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n", c->sent, 250 + c->sent);
    n = snprintf(framed, sizeof framed, "%x\r\n%s\r\n%s", n, text, last ? "0\r\n\r\n" : "");
    put(c, framed, n);
    c->sent++, c->due += c->interval;
    if (last) end_stream(c);
}

static void begin_stream(connection *c, const char *body, size_t length) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    const char *at = body;
    c->events = 20, c->interval = 2000;
    while ((at = memchr(at, '@', body + length - at))) {
        int events;
        long long interval;
        if (sscanf(++at, "%dx%lld@", &events, &interval) == 2) {
            c->events = events, c->interval = interval;
            break;
        }
    }
    c->sent = 0, c->due = now_us();
    c->next = streams.next, c->previous = &streams, streams.next->previous = c, streams.next = c;
    put(c, head, sizeof head - 1);
    put_event(c);
}

static int asks_stream(const char *body, size_t length) {
    const char *end = body + length;
    while ((body = memmem(body, end - body, "\"stream\":", 9))) {
        body += 9;
        if (body < end && *body == ' ') body++;
        if (end - body >= 4 && !memcmp(body, "true", 4)) return 1;
    }
    return 0;
}

/* The length of the request that is first in the buffer, or 0 while it is not whole. */
static size_t whole(connection *c, size_t *head) {
    char *end = memmem(c->in, c->held < 65536 ? c->held : 65536, "\r\n\r\n", 4);
    if (!end) return 0;
    *head = end - c->in + 4;
    *end = 0;
    char *length = strcasestr(c->in, "\ncontent-length:"), *chunked = strcasestr(c->in, "\ntransfer-encoding: chunked");
    size_t all = *head + (length ? strtoull(length + 16, 0, 10) : 0);
    *end = '\r';
    if (chunked) {
        if (c->held < *head + 5 || memcmp(c->in + c->held - 5, "0\r\n\r\n", 5)) return 0;
        return c->held;
    }
    return c->held < all ? 0 : all;
}

static void answer(connection *c) {
    size_t head, length;
    while (!c->events && (length = whole(c, &head))) {
        if (!memcmp(c->in, "GET ", 4)) {
            static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-mini\",\"object\":\"model\","
                                         "\"created\":1,\"owned_by\":\"openai\"}]}";
            char told[512];
            int n = snprintf(told, sizeof told, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n%s", sizeof models - 1, models);
            put(c, told, n);
        } else if (asks_stream(c->in + head, length - head))
            begin_stream(c, c->in + head, length - head);
        else
            put(c, plain, plain_length);
        memmove(c->in, c->in + length, c->held -= length);
    }
}

static void hang_up(connection *c) {
    end_stream(c);
    close(c->fd);
    free(c->in), free(c->out), free(c);
}

static void take(connection *c) {
    if (c->room - c->held < 65536) c->in = realloc(c->in, (c->room *= 2) + 1);
    ssize_t n = recv(c->fd, c->in + c->held, c->room - c->held, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->held += n, c->in[c->held] = 0;
    answer(c);
}

static int listening(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 2048)) {
        perror("provider");
        exit(1);
    }
    getsockname(fd, (void *)&a, &size);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int fd) {
    int one = 1, new;
    while ((new = accept4(fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
        setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection *c = calloc(1, sizeof *c);
        c->fd = new, c->room = 1 << 16, c->in = malloc(c->room + 1);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, new, &e);
    }
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    static const char body[] =
        "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion\",\"created\":1741569952,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"I have "
        "looked at the files. The failing test imports a helper that was renamed; the shortest repair is to import it "
        "under its new name. I changed two files and ran the suite: 214 passed, 0 failed.\",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":250,\"completion_tokens\":72,"
        "\"total_tokens\":322,\"prompt_tokens_details\":{\"cached_tokens\":128}}}";
    plain_length = snprintf(plain, sizeof plain, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "Content-Length: %zu\r\n\r\n%s", sizeof body - 1, body);
    int fd = listening(count > 1 ? atoi(arguments[1]) : 0);
    epoll = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    for (;;) {
        int n = epoll_wait(epoll, ready, 256, streams.next == &streams ? -1 : 1);
        for (int i = 0; i < n; i++) {
            connection *c = ready[i].data.ptr;
            if (!c)
                accept_all(fd);
            else {
                if (ready[i].events & EPOLLOUT) put_rest(c);
                if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(c);
            }
        }
        long long now = now_us();
        for (connection *c = streams.next, *next; c != &streams; c = next) {
            next = c->next;
            if (now < c->due) continue;
            put_event(c);
            if (!c->events) answer(c);
        }
    }
}
