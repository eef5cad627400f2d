/* Sends each line of standard input as a message: send [--at-least-once] PATH < FILE
   PATH: of a Unix socket, or @NAME (Linux). Until somebody listens there, it tries again and again. */
#define _POSIX_C_SOURCE 200809L
#include "wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST_QUEUED = 4 << 20 /* bytes */, MIN_WAIT = 10, MAX_WAIT = 1000 /* ms, between two tries to connect */,
       LAST_WAIT = 10000 /* ms, for the next receipt of a reader that takes nothing more */,
       MOST_CUTS = 3 /* connections in a row that end in the same message: the reader does not take it */ };

struct frame {
    struct frame *next;
    size_t len;
    unsigned char bytes[];
};

static bool at_least_once, has_input = true, is_complete = true;
static struct frame *oldest, *newest; /* What is not settled yet, in order. */
static size_t queued;                 /* Its bytes. */
static int wait_ms = MIN_WAIT;
static int cuts; /* Connections that have ended in the oldest message, at most once. */

/* What holds for one connection. */
static struct frame *waiting;        /* The first of which the kernel lacks a byte. */
static size_t part;                  /* Bytes of it that the kernel has. */
static uint64_t written, confirmed;  /* Messages: those before `waiting`, and those that a receipt covers. */
static bool is_asked, may_write, is_refused;
static long long until;              /* The end of it, once nothing more may be written. */
static unsigned char receipt[MAX_VARINT]; /* The beginning of one. */
static size_t receipt_len;

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void *need(void *memory) {
    if (memory == NULL) {
        perror("send");
        exit(1);
    }
    return memory;
}

static void settle_oldest(void) {
    struct frame *frame = oldest;
    oldest = frame->next;
    queued -= frame->len;
    free(frame);
}

static void queue(const unsigned char *line, size_t len) {
    if (len == 0)
        return; /* An empty frame is no message. */
    if (len > MAX_MESSAGE) {
        fprintf(stderr, "send: a line is too long\n");
        return;
    }
    struct frame *frame = need(malloc(sizeof *frame + MAX_VARINT + len));
    frame->next = NULL;
    frame->len = put_varint(frame->bytes, len, 0);
    memcpy(frame->bytes + frame->len, line, len);
    frame->len += len;
    queued += frame->len;
    *(oldest ? &newest->next : &oldest) = frame;
    newest = frame;
    if (waiting == NULL)
        waiting = frame;
}

static void read_lines(void) {
    static unsigned char *line;
    static size_t len, size;
    if (size - len < 65536)
        line = need(realloc(line, size = 2 * size + 65536));
    ssize_t got = read(0, line + len, size - len - 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) { /* What came before it is sent. */
        perror("send: standard input");
        is_complete = false;
        got = 0;
    }
    has_input = got > 0;
    size_t end = len + (size_t)got;
    if (!has_input)
        line[end++] = '\n';
    unsigned char *rest = line, *stop;
    while ((stop = memchr(rest, '\n', (size_t)(line + end - rest)))) {
        queue(rest, (size_t)(stop - rest));
        rest = stop + 1;
    }
    len = (size_t)(line + end - rest);
    memmove(line, rest, len);
}

static void end_writing(int wait) {
    may_write = false;
    until = now_ms() + wait;
}

/* Whether the connection goes on. */
static bool read_receipts(int stream) {
    unsigned char bytes[256];
    ssize_t got = recv(stream, bytes, sizeof bytes, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t at = 0; at < got && at_least_once; at++) {
        uint64_t count;
        receipt[receipt_len++] = bytes[at];
        int size = get_varint(receipt, receipt_len, &count);
        if (size == 0)
            continue;
        receipt_len = 0;
        if (size < 0 || count < confirmed || count > written)
            return false; /* It cannot be true. */
        for (; confirmed < count; confirmed++, wait_ms = MIN_WAIT, until = now_ms() + LAST_WAIT)
            settle_oldest();
        unsigned char minimal[MAX_VARINT];
        size_t padding = (size_t)size - put_varint(minimal, count, 0);
        is_refused = padding == REFUSES;
        if (padding == STOPS && may_write) {
            end_writing(LAST_WAIT);
            shutdown(stream, SHUT_WR);
        }
    }
    return got > 0;
}

/* Whether the connection goes on. */
static bool write_one(int stream) {
    unsigned char ask = 0;
    const unsigned char *bytes = waiting ? waiting->bytes + part : &ask;
    ssize_t taken = send(stream, bytes, waiting ? waiting->len - part : 1, 0);
    if (taken < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (taken < 0) /* A reader that stops has yet to say how far it got; one that refuses has said so. */
        return end_writing(confirmed < written ? LAST_WAIT : 0), true;
    if (waiting == NULL)
        return is_asked = true;
    part += (size_t)taken;
    if (part < waiting->len)
        return true;
    part = 0;
    cuts = 0;
    waiting = waiting->next;
    if (at_least_once)
        written++, is_asked = false;
    else
        settle_oldest();
    return true;
}

/* Sends on one connection, until that has ended or all is done. */
static void use_connection(int stream) {
    fcntl(stream, F_SETFL, O_NONBLOCK);
    waiting = oldest;
    part = receipt_len = 0;
    written = confirmed = 0;
    is_asked = may_write = true;
    is_refused = false;
    if (at_least_once && send(stream, "\x80\0", 2, 0) != 2) /* The opening, for which a new socket has room. */
        end_writing(0);
    bool goes_on = true;
    while (goes_on && (has_input || oldest)) {
        bool has_more = may_write && (waiting || !is_asked);
        struct pollfd polled[] = {{stream, (short)(POLLIN | (has_more ? POLLOUT : 0)), 0},
                                  {has_input && queued < MOST_QUEUED ? 0 : -1, POLLIN, 0}};
        long long left = until - now_ms();
        int ready = poll(polled, 2, may_write ? -1 : left > 0 ? (int)left : 0);
        if (ready == 0)
            break;
        if (ready < 0)
            continue;
        if (polled[1].revents)
            read_lines();
        if (polled[0].revents & ~POLLOUT)
            goes_on = read_receipts(stream);
        else if (polled[0].revents)
            goes_on = write_one(stream);
    }
    waiting = NULL;
    if (!at_least_once && part > 0)
        is_refused = ++cuts == MOST_CUTS;
    if (is_refused && (confirmed < written || part > 0)) { /* What it has no byte of it can't refuse. */
        cuts = 0;
        fprintf(stderr, "send: the reader refuses a message: it is too long\n");
        settle_oldest();
    }
}

int main(int count, char **words) {
    struct sockaddr_un address;
    socklen_t len = count > 1 ? resolve(words[count - 1], &address) : 0;
    if (len == 0)
        return fprintf(stderr, "send [--at-least-once] PATH < FILE\n"), 2;
    at_least_once = count > 2 && strcmp(words[1], "--at-least-once") == 0;
    signal(SIGPIPE, SIG_IGN);
    srand((unsigned)getpid());
    while (has_input || oldest) {
        long long began = now_ms();
        int stream = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(stream, (struct sockaddr *)&address, len) == 0)
            use_connection(stream);
        else if (wait_ms == MIN_WAIT)
            perror(words[count - 1]);
        close(stream);
        if (now_ms() - began >= 1000)
            wait_ms = MIN_WAIT;
        int some_ms = wait_ms / 2 + rand() % (wait_ms / 2 + 1); /* Not all senders at once. */
        struct timespec pause = {some_ms / 1000, some_ms % 1000 * 1000000L};
        if (has_input || oldest)
            nanosleep(&pause, NULL);
        wait_ms = wait_ms * 2 < MAX_WAIT ? wait_ms * 2 : MAX_WAIT;
    }
    return is_complete ? 0 : 1;
}
