/* Writes each message that comes as a line to standard output: receive PATH >> FILE
   PATH: of a Unix socket, or @NAME (Linux). SIGTERM or an interrupt ends it; on Linux whatever was sent until then is
   still written. */
#define _POSIX_C_SOURCE 200809L
#include "wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 64 /* more wait in the backlog */, READ_SIZE = 256 << 10 };

struct connection {
    unsigned char *bytes; /* What has come of the next frame: never more than was sent. */
    size_t len, size;
    uint64_t count; /* Messages that are stored. */
    bool was_asked;
};

/* The listening socket is in the first place. */
static struct pollfd polled[1 + MOST_CONNECTIONS];
static struct connection connections[1 + MOST_CONNECTIONS];
static int listener; /* -1: closed. */
static bool is_full; /* Nobody is accepted until a connection has ended. */
static volatile sig_atomic_t is_stopping;

/* From now on nobody connects. Those who wait are accepted. */
static void stop(int signal) {
    int before = errno;
    (void)signal;
    is_stopping = 1;
    shutdown(listener, SHUT_RDWR); /* That is POLLHUP, which is told even where nothing is asked for. */
    errno = before;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void store(const unsigned char *message, size_t len) {
    if (fwrite(message, 1, len, stdout) != len || putchar('\n') == EOF)
        fail("receive");
}

/* What was stored is confirmed after this: a file that must survive a loss of power needs an fsync. */
static void end_batch(void) {
    if (fflush(stdout) != 0)
        fail("receive");
}

/* Deals with what is there; whether the connection goes on. */
static bool receive(int stream, struct connection *connection) {
    if (connection->size - connection->len < READ_SIZE) {
        connection->size = 2 * connection->size + READ_SIZE;
        connection->bytes = realloc(connection->bytes, connection->size);
        if (connection->bytes == NULL)
            fail("receive");
    }
    ssize_t got = recv(stream, connection->bytes + connection->len, READ_SIZE, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->len += (size_t)got;
    bool goes_on = got > 0, asks = false; /* At the end of the stream half a frame is thrown away. */
    enum word word = NO_WORD;
    size_t at = 0;
    for (;;) {
        uint64_t len;
        int size = get_varint(connection->bytes + at, connection->len - at, &len);
        if (size < 0)
            goes_on = false;
        if (size <= 0)
            break;
        if (len > MAX_MESSAGE) {
            goes_on = false;
            word = REFUSES;
            break;
        }
        if (connection->len - at - (size_t)size < len)
            break;
        if (len == 0) { /* An empty frame is no message: it asks how many there were. */
            asks = connection->was_asked = true;
        } else {
            store(connection->bytes + at + size, len);
            connection->count++;
        }
        at += (size_t)size + len;
    }
    connection->len -= at;
    memmove(connection->bytes, connection->bytes + at, connection->len);
    end_batch();
    if (asks || (word != NO_WORD && connection->was_asked)) {
        unsigned char receipt[MAX_VARINT];
        size_t len = put_varint(receipt, connection->count, word);
        ssize_t sent = send(stream, receipt, len, 0);
        /* Never waits: a sender that does not read what it asked for loses its connection. Who has gone is noticed
           when it is read from. */
        if (sent < 0 ? errno == EAGAIN : sent < (ssize_t)len)
            return false;
    }
    return goes_on;
}

/* Whether a process that was killed left its socket there. Of any other file, and where somebody listens (on Linux a full
   backlog is EAGAIN), the bind fails. */
static bool is_left(const char *path, const struct sockaddr_un *address, socklen_t len) {
    struct stat file;
    if (path[0] == '@' || lstat(path, &file) < 0 || !S_ISSOCK(file.st_mode))
        return false;
    int probe = socket(AF_UNIX, SOCK_STREAM, 0);
    fcntl(probe, F_SETFL, O_NONBLOCK);
    bool is_refused = connect(probe, (const struct sockaddr *)address, len) < 0 && errno == ECONNREFUSED;
    close(probe);
    return is_refused;
}

static int listen_at(const char *path) {
    struct sockaddr_un address;
    socklen_t len = resolve(path, &address);
    int bound = socket(AF_UNIX, SOCK_STREAM, 0);
    if (len == 0 || bound < 0)
        fail(path);
    if (is_left(path, &address, len))
        unlink(path);
    if (bind(bound, (struct sockaddr *)&address, len) < 0 || listen(bound, 128) < 0)
        fail(path);
    fcntl(bound, F_SETFL, O_NONBLOCK);
    return bound;
}

/* From now on the senders' writes fail. What they have sent is read, up to its end. */
static void end_connections(void) {
    for (size_t at = 1; at <= MOST_CONNECTIONS; at++)
        if (polled[at].fd >= 0)
            shutdown(polled[at].fd, SHUT_RD);
}

static void accept_one(size_t place, bool is_last) {
    int stream = accept(listener, NULL, NULL);
    if (stream >= 0) {
        fcntl(stream, F_SETFL, O_NONBLOCK);
        polled[place].fd = stream;
    } else if (errno == EINVAL || errno == EAGAIN) { /* Nobody waits. */
        if (!is_last)
            return;
        end_connections();
        close(listener);
        listener = -1;
    } else if (errno != ECONNABORTED && errno != EINTR) {
        is_full = true; /* EMFILE, or the like. */
    }
}

int main(int count, char **words) {
    if (count != 2)
        return fprintf(stderr, "receive PATH >> FILE\n"), 2;
    for (size_t at = 0; at <= MOST_CONNECTIONS; at++)
        polled[at] = (struct pollfd){-1, POLLIN, 0};
    listener = listen_at(words[1]);
    /* Not the write of a message is interrupted, but poll. */
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop, .sa_flags = SA_RESTART}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = stop, .sa_flags = SA_RESTART}, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        bool is_last = is_stopping; /* Whoever is to be accepted connected before. */
        size_t open = 0, place = 0;
        for (size_t at = 1; at <= MOST_CONNECTIONS; at++)
            polled[at].fd < 0 ? (place = at) : open++;
        if (listener < 0 && open == 0)
            return 0;
        is_full = open > 0 && (is_full || place == 0);
        if (is_full && is_last) /* Places must become free for those who wait. */
            end_connections();
        polled[0].fd = is_full && is_last ? -1 : listener;
        polled[0].events = is_full ? 0 : POLLIN;
        if (poll(polled, 1 + MOST_CONNECTIONS, -1) < 0) {
            if (errno != EINTR)
                fail("receive");
            continue;
        }
        for (size_t at = 1; at <= MOST_CONNECTIONS; at++)
            if (polled[at].fd >= 0 && polled[at].revents && !receive(polled[at].fd, &connections[at])) {
                close(polled[at].fd);
                polled[at].fd = -1;
                free(connections[at].bytes);
                connections[at] = (struct connection){0};
                is_full = false;
            }
        if (listener >= 0 && place && !is_full && polled[0].revents)
            accept_one(place, is_last);
    }
}
