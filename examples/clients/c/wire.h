/* What both ends need: varints, and sockets by address. The format: src/guide/wire.rs. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAX_MESSAGE = 10 << 20, MAX_VARINT = 10 };
enum word { NO_WORD, REFUSES, STOPS }; /* What a receipt says beside its count: the length of its padding. */

/* Seven bits a byte, the lowest first; all but the last byte have the top bit set. Padding changes no value. */
static inline size_t put_varint(unsigned char *to, uint64_t number, size_t padding) {
    size_t size = 0;
    while (number > 0x7f) {
        to[size++] = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    to[size++] = (unsigned char)number;
    for (; padding > 0 && size < MAX_VARINT; padding--) {
        to[size - 1] |= 0x80;
        to[size++] = 0;
    }
    return size;
}

/* How many bytes the number at `from` takes; 0: more must come; -1: it is no 64-bit number. */
static inline int get_varint(const unsigned char *from, size_t len, uint64_t *number) {
    *number = 0;
    for (size_t at = 0; at < len && at < MAX_VARINT; at++) {
        uint64_t group = from[at] & 0x7f;
        if (at == MAX_VARINT - 1 && from[at] > 1)
            return -1;
        *number |= group << (7 * at);
        if (from[at] < 0x80)
            return (int)at + 1;
    }
    return 0;
}

/* PATH, or @NAME: an abstract name of Linux. 0: too long. */
static inline socklen_t resolve(const char *path, struct sockaddr_un *address) {
    size_t len = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (len == 0 || len >= sizeof address->sun_path)
        return 0;
    memcpy(address->sun_path, path, len);
    if (path[0] != '@')
        return sizeof *address;
    address->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}
