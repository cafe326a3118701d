/* floor: what the kernel alone takes. A loop of send(2) of one frame to all readers; no library, no guarantee, and no
 * second try for a socket that is full (which shows as missing messages).
 *
 *     floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 1 << 20, READER = 1, SPEAKER = 2 };
static uint8_t kinds[MOST]; /* by file descriptor; 0 before its request */
static int readers[MOST], reader_count;
static uint8_t input[1 << 17], output[1 << 17];
static size_t waiting; /* in `input`, of the one speaker */

static void welcome(int fd) {
    static char text[1 << 14];
    ssize_t size = recv(fd, text, sizeof text - 1, 0);
    if (size <= 0) {
        close(fd);
        return;
    }
    text[size] = 0;
    const char *answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    kinds[fd] = strstr(text, "GET /speak ") ? SPEAKER : READER;
    if (kinds[fd] == READER) readers[reader_count++] = fd;
}

static void leave(int fd) {
    for (int each = 0; each < reader_count; each++)
        if (readers[each] == fd) readers[each--] = readers[--reader_count];
    kinds[fd] = 0;
    close(fd);
}

/* Frames of a client, below 64 KB; sent on as they are but for the mask. */
static void hear(int fd) {
    ssize_t taken = recv(fd, input + waiting, sizeof input - waiting, 0);
    if (taken <= 0) {
        leave(fd);
        return;
    }
    waiting += taken;
    size_t done = 0;
    while (waiting - done >= 8) {
        uint8_t *frame = input + done, *out = output;
        size_t head = 2, length = frame[1] & 127;
        if (length == 126) head = 4, length = frame[2] << 8 | frame[3];
        if (waiting - done < head + 4 + length) break;
        memcpy(out, frame, head);
        out[1] &= 127;
        for (size_t byte = 0; byte < length; byte++)
            out[head + byte] = frame[head + 4 + byte] ^ frame[head + (byte & 3)];
        for (int each = 0; each < reader_count; each++)
            send(readers[each], out, head + length, MSG_NOSIGNAL | MSG_DONTWAIT);
        done += head + 4 + length;
    }
    memmove(input, input + done, waiting -= done);
}

int main(int count, char **words) {
    if (count != 2) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0), loop = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (;;) {
        struct epoll_event events[256];
        int found = epoll_wait(loop, events, 256, -1);
        for (int event = 0; event < found; event++) {
            int fd = events[event].data.fd;
            if (fd == listener) {
                int one = accept(listener, NULL, NULL);
                setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
                epoll_ctl(loop, EPOLL_CTL_ADD, one, &(struct epoll_event){.events = EPOLLIN, .data.fd = one});
            } else if (!kinds[fd])
                welcome(fd);
            else if (kinds[fd] == SPEAKER)
                hear(fd);
            else
                leave(fd);
        }
    }
}
