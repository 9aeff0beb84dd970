/* Asks an HTTP server on a Unix socket for one path, as fast as it answers, and measures.
 *
 *   client SOCKET PATH kept|each CONNECTIONS SECONDS
 *
 * One thread, one epoll, CONNECTIONS requests in flight at any time: over connections that are
 * kept, or over a new connection for each. Prints one line of JSON. Ends with 1 at the first
 * answer that is not a whole 200.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROOM 16384
#define MOST 50000000

struct connection {
    int fd;
    size_t got;   /* bytes of the answer so far */
    size_t whole; /* bytes of the whole answer, 0 until its head is there */
    double since;
    char answer[ROOM + 1];
};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char request[512];
static size_t request_length;
static int keep, poller;
static float *latencies; /* microseconds */
static size_t answered;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void ask(struct connection *c) {
    c->got = c->whole = 0;
    c->since = now();
    if (c->fd < 0) {
        c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
    }
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        fail("send");
}

static void understand_head(struct connection *c) {
    c->answer[c->got] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return;
    if (strncmp(c->answer, "HTTP/1.1 200 ", 13)) {
        errno = EPROTO;
        fail(c->answer);
    }
    char *length = strcasestr(c->answer, "\r\nContent-Length:");
    if (!length || length > end) {
        errno = EPROTO;
        fail("no Content-Length");
    }
    c->whole = end + 4 - c->answer + strtoul(length + 17, NULL, 10);
    if (c->whole > ROOM) {
        errno = EMSGSIZE;
        fail("answer");
    }
}

/* 1 once the answer is whole and, where the connection is not kept, the server has closed. */
static int read_answer(struct connection *c) {
    ssize_t n = recv(c->fd, c->answer + c->got, ROOM - c->got, MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN) return 0;
        fail("recv");
    }
    c->got += n;
    if (!c->whole && n) understand_head(c);
    if (n == 0) {
        if (keep || !c->whole || c->got != c->whole) {
            errno = EPIPE;
            fail("cut off");
        }
        close(c->fd);
        c->fd = -1;
        return 1;
    }
    return keep && c->whole && c->got == c->whole;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double seconds_of(struct timeval t) { return t.tv_sec + t.tv_usec * 1e-6; }

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: client SOCKET PATH kept|each CONNECTIONS SECONDS\n");
        return 2;
    }
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    keep = !strcmp(argv[3], "kept");
    request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: neod\r\n%s\r\n",
                              argv[2], keep ? "" : "Connection: close\r\n");
    int count = atoi(argv[4]);
    double seconds = atof(argv[5]);
    struct connection *all = calloc(count, sizeof *all);
    latencies = malloc(MOST * sizeof *latencies); /* pages are taken as they are written */
    poller = epoll_create1(0);
    if (!all || !latencies || poller < 0) fail("memory");

    double began = now(), ended = began;
    for (int i = 0; i < count; i++) {
        all[i].fd = -1;
        ask(&all[i]);
    }
    struct epoll_event events[256];
    while (ended - began < seconds) {
        int n = epoll_wait(poller, events, 256, 5000);
        if (n <= 0) fail("no answer for 5 s");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!read_answer(c)) continue;
            ended = now();
            if (answered < MOST) latencies[answered++] = (ended - c->since) * 1e6;
            ask(c);
        }
    }
    qsort(latencies, answered, sizeof *latencies, compare);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"requests\": %zu, \"seconds\": %.4f, \"p50\": %.1f, \"p99\": %.1f, \"cpu\": %.4f}\n",
           answered, ended - began, latencies[answered / 2], latencies[answered * 99 / 100],
           seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
    return 0;
}
