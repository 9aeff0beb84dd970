/* A bot that lives on neod's session, in C: it asks before each call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un where = {.sun_family = AF_UNIX};
static const char *account = "main";

/* One request in HTTP/1.0, so the reply is all that comes. Returns its body, NULL where none came. */
static char *ask(const char *request, char *reply, size_t size)
{
    struct timeval patience = {.tv_sec = 70};
    size_t had = 0;
    ssize_t got = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return NULL;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&where, sizeof where) == 0
        && send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request))
        while ((got = recv(fd, reply + had, size - had - 1, 0)) > 0)
            had += (size_t)got;
    close(fd);
    reply[had] = '\0';
    if (got != 0 || had == 0 || reply[had - 1] != '\n') /* a reply that was cut off is none */
        return NULL;
    char *body = strstr(reply, "\r\n\r\n");
    return body ? body + 4 : NULL;
}

/* The session of this moment, if there is one but the dead one, or comes within a minute. Returns
 * its generation, 0 if there is none; its token is put into `token`. */
static long long session(long long dead, char *token, size_t size)
{
    char request[256], reply[16384];

    snprintf(request, sizeof request,
             "GET /v1/token?account=%s&after=%lld&wait=60 HTTP/1.0\r\n\r\n", account, dead);
    const char *body = ask(request, reply, sizeof reply);
    const char *field = strstr(reply, "\r\nNeod-Generation: ");
    if (!body || !field || strlen(body) > size) /* a failure has no such field */
        return 0;
    sprintf(token, "%.*s", (int)strcspn(body, "\n"), body);
    return atoll(field + strlen("\r\nNeod-Generation: "));
}

/* The broker refused this session, and `evidence` is what it said. Puts what came of it into
 * `outcome`. */
static void reject(long long generation, int evidence, char outcome[32])
{
    char said[256], request[512], reply[16384];

    int length = snprintf(said, sizeof said,
                          "{\"account\":\"%s\",\"generation\":%lld,\"evidence\":%d}",
                          account, generation, evidence);
    snprintf(request, sizeof request,
             "POST /v1/reject HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", length, said);
    const char *body = ask(request, reply, sizeof reply), *at;
    strcpy(outcome, "unheard");
    /* Where neod could not do it, there is a code in place of an outcome. */
    if (body && ((at = strstr(body, "\"outcome\":\"")) || (at = strstr(body, "\"code\":\""))))
        sscanf(at, "\"%*[a-z]\":\"%31[a-z_]", outcome);
}

int main(void)
{
    const char *path = getenv("NEOD_SOCKET");
    long long generation, last = 0, dead = 0; /* the one we had last, the one that was refused */
    char token[8192], outcome[32], answer[256];

    if (getenv("NEOD_ACCOUNT"))
        account = getenv("NEOD_ACCOUNT");
    if (!path)
        sprintf(where.sun_path, "/run/user/%u/neod/neod.sock", getuid());
    else if (strlen(path) < sizeof where.sun_path)
        strcpy(where.sun_path, path);
    if (!where.sun_path[0] || strlen(account) > 64) {
        fputs("NEOD_SOCKET has to be what neoctl socket says, NEOD_ACCOUNT an account\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        /* It costs less than a millisecond, so nothing is kept that could be stale. */
        generation = session(dead, token, sizeof token);
        if (!generation) {
            puts("waiting");
            sleep(1);
            continue;
        }
        if (generation != last)
            printf("session %lld, %zu bytes of token\n", generation, strlen(token));
        last = generation;
        /* A real bot calls the broker here, with the token. This one reads the answer. */
        if (!fgets(answer, sizeof answer, stdin))
            return 0;
        int code = atoi(answer);
        if (code != 401 && code != 100022)
            continue;
        reject(generation, code, outcome);
        printf("rejected %lld %s\n", generation, outcome);
        if (!strcmp(outcome, "renewed") || !strcmp(outcome, "newer") || !strcmp(outcome, "deferred"))
            dead = generation; /* never again with this one */
        else
            sleep(1); /* it is served on: no hurry */
    }
}
