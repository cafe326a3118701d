/* load: many readers and one speaker on one thread, meant to be cheaper than any server that it asks.
 *
 *     cc -O2 -o load load.c
 *     load --port 8000 --readers 1000 --path /live/ws --step '"live.hello"' '[["live.join",{},...]]' ... --message '...'
 *
 * It opens the speaker and the readers, says so in a line of JSON, and then does what lines of its standard input say,
 * answering each with a line:
 *
 *     flood SECONDS WINDOW    the speaker keeps WINDOW messages in flight for so long
 *     pace SECONDS RATE       so many messages a second, whatever happens
 *     rest SECONDS            nothing but answers to heartbeats
 *     stop N                  the first N readers read no more
 *     resume                  they read again, until each has caught up
 *
 * A message is in flight until the last reader of its room has it. Message n goes to room n % rooms, reader i sits in
 * room i % rooms; each reader must get each message of its room, once and in order: the rest is counted as `missing`
 * and `disorder`. Latency is from when a message was due to be sent to when it was read: in all readers (`each`), and
 * in the last of them (`last`). Nothing is measured while an answer is printed, and the servers are idle then: whoever
 * reads the answer may look at their CPU time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t nanoseconds;
enum { SECOND = 1000000000 };

/* What a body begins with: the mark, 8 hexadecimal digits of its number, 16 of the time when it was due. */
#define MARK "~#"
enum { MARK_SIZE = 2, MARKED = MARK_SIZE + 8 + 16 };

enum { STEPS = 8, HEADERS = 16, FLYING = 1 << 14, AT_ONCE = 32, BUFFER = 1 << 18, STALL = 10 };

typedef struct {
    const char *expect, *say;
} Step;

typedef struct {
    const char *path;
    Step steps[STEPS];
    int count;
} Part; /* what a reader does, or the speaker */

typedef enum { WS, SSE, POLL } Transport;
typedef enum { CLOSED, CONNECTING, UPGRADING, TALKING, READY, DEAD } State;

typedef struct {
    int fd, step, room;
    State state;
    Transport transport;
    const Part *part;
    bool stopped;
    int64_t heard;      /* the newest number; -1 before the first */
    uint32_t frames;    /* that flow control counts */
    uint32_t answered;  /* of these, acknowledged */
    uint8_t *rest;      /* bytes of a message that is not complete */
    size_t rest_size;
} Connection;

static struct {
    int port, speaker_port, readers, rooms, size, acknowledge, narrow;
    Transport transport;
    Part reader, speaker;
    const char *headers[HEADERS], *message, *again;
    int header_count;
    char **own; /* a header for each reader in turn, from a file */
    int own_count;
} plan = {.rooms = 1, .size = 200, .message = "%b", .reader.path = "/", .speaker.path = NULL};

static Connection *connections; /* the readers, and the speaker last */
static int loop, all, ready, dead, opening, next;
static uint8_t buffer[BUFFER];

/* The run that is under way. */
static struct {
    uint64_t sent, delivered, frames, reads, bytes, disorder;
    int64_t first; /* the number of its first message */
    int flying;
    nanoseconds began, ended;
} run;
static int64_t number; /* of the next message */
static struct {
    int left;
    nanoseconds due;
} flying[FLYING]; /* by number */
static int *listening; /* readers of each room that read */

/* --- time and its distribution */

static nanoseconds now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (nanoseconds)time.tv_sec * SECOND + time.tv_nsec;
}

/* Microseconds, in buckets that are 1/64 of their value wide. */
enum { FINE = 64, BUCKETS = FINE * 40 };
typedef struct {
    uint64_t counts[BUCKETS], total, most;
} Histogram;
static Histogram each, last;

static void record(Histogram *histogram, nanoseconds duration) {
    uint64_t value = duration / 1000;
    int bucket = value;
    if (value >= FINE) {
        int power = 63 - __builtin_clzll(value);
        bucket = (power - 5) * FINE + ((value >> (power - 6)) & (FINE - 1));
    }
    histogram->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    histogram->total++;
    if (value > histogram->most) histogram->most = value;
}

static uint64_t quantile(const Histogram *histogram, double share) {
    uint64_t wanted = histogram->total * share, seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > wanted)
            return bucket < FINE ? (uint64_t)bucket : (uint64_t)(FINE + bucket % FINE) << (bucket / FINE - 1);
    }
    return histogram->most;
}

static void print_histogram(const char *name, const Histogram *histogram) {
    printf(", \"%s\": {\"p50_us\": %lu, \"p95_us\": %lu, \"p99_us\": %lu, \"max_us\": %lu}", name,
           quantile(histogram, .5), quantile(histogram, .95), quantile(histogram, .99), histogram->most);
}

/* --- saying something */

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    exit(2);
}

static void send_all(Connection *to, const void *data, size_t size) {
    const uint8_t *rest = data;
    while (size) {
        ssize_t taken = send(to->fd, rest, size, MSG_NOSIGNAL);
        if (taken > 0) {
            rest += taken;
            size -= taken;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){to->fd, POLLOUT, 0}, 1, 100);
        } else
            return; /* the next read tells of it */
    }
}

/* A frame of a WebSocket, masked with zeros, which leave it as it is. */
static void send_frame(Connection *to, int opcode, const void *payload, size_t size) {
    static uint8_t frame[1 << 17];
    size_t head = size < 126 ? 2 : 4;
    if (size > 65535) give_up("a message of %zu bytes is more than this was made for", size);
    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | (size < 126 ? size : 126);
    if (size >= 126) {
        frame[2] = size >> 8;
        frame[3] = size;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, size);
    send_all(to, frame, head + 4 + size);
}

/* The template with %r the room's number, %n the message's number, %b its body. */
static size_t fill(char *out, size_t room_for, const char *template, int room, const char *body) {
    size_t size = 0;
    for (const char *at = template; *at; at++) {
        if (size + 32 + plan.size > room_for) give_up("too long: %s", template);
        if (at[0] == '%' && at[1] == 'r') size += sprintf(out + size, "%d", room), at++;
        else if (at[0] == '%' && at[1] == 'n') size += sprintf(out + size, "%010ld", number), at++;
        else if (at[0] == '%' && at[1] == 'b') size += sprintf(out + size, "%s", body), at++;
        else out[size++] = *at;
    }
    out[size] = 0;
    return size;
}

static void say(Connection *to, const char *template) {
    static char text[1 << 16];
    send_frame(to, 1, text, fill(text, sizeof text, template, to->room, ""));
}

static void speak(nanoseconds due) {
    static char body[1 << 16], text[1 << 17];
    const char *words = "lorem ipsum dolor sit amet consectetur ";
    int size = sprintf(body, MARK "%08x%016lx", (uint32_t)number, due);
    while (size < plan.size) body[size] = words[size % 39], size++;
    body[size] = 0;
    int room = number % plan.rooms, slot = number % FLYING;
    flying[slot].left = listening[room];
    flying[slot].due = due;
    run.flying += listening[room] > 0;
    send_frame(&connections[plan.readers], 1, text, fill(text, sizeof text, plan.message, room, body));
    number++;
    run.sent++;
}

/* --- coming */

static void bury(Connection *connection) {
    if (connection->state == DEAD) return;
    if (connection->state == READY) ready--;
    else opening--;
    connection->state = DEAD;
    close(connection->fd);
    dead++;
}

static void step_on(Connection *connection) {
    const Part *part = connection->part;
    if (connection->step == part->count) {
        connection->state = READY;
        opening--;
        ready++;
    } else
        connection->state = TALKING;
}

static int port_of(const Connection *connection) {
    return connection->part == &plan.speaker && plan.speaker_port ? plan.speaker_port : plan.port;
}

static void request(Connection *connection, const char *path) {
    static char text[1 << 15], full[1 << 12];
    fill(full, sizeof full, path, connection->room, "");
    int port = port_of(connection);
    int size = sprintf(text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n", full,
                       port, port);
    for (int each = 0; each < plan.header_count; each++) size += sprintf(text + size, "%s\r\n", plan.headers[each]);
    if (plan.own_count) size += sprintf(text + size, "%s\r\n", plan.own[(connection - connections) % plan.own_count]);
    if (connection->transport == WS)
        size += sprintf(text + size, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
    size += sprintf(text + size, "\r\n");
    send_all(connection, text, size);
}

static void watch(Connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = connection - connections};
    epoll_ctl(loop, operation, connection->fd, &event);
}

static void open_connection(Connection *connection) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(port_of(connection));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connection->fd < 0) give_up("no more sockets: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (plan.narrow) { /* as over a network: loopback's own segments make the server's buffer 2 MB from the start */
        setsockopt(connection->fd, IPPROTO_TCP, TCP_MAXSEG, &(int){1400}, sizeof(int));
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &(int){16384}, sizeof(int));
    }
    if (connect(connection->fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        give_up("cannot connect: %s", strerror(errno));
    connection->state = CONNECTING;
    opening++;
    watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
}

/* --- hearing */

static uint64_t hexadecimal(const uint8_t *digits, int count) {
    uint64_t value = 0;
    while (count--) {
        int digit = *digits++;
        value = value * 16 + (digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

static void hear_one(Connection *connection, const uint8_t *mark, nanoseconds at) {
    uint32_t heard = hexadecimal(mark + MARK_SIZE, 8);
    if (connection->heard < 0 ? heard < run.first : heard != connection->heard + plan.rooms) {
        run.disorder++;
        if (connection->heard >= (int64_t)heard) return; /* a second time */
    }
    connection->heard = heard;
    if (heard < run.first || connection->stopped) return; /* of a run that is over, or beside the measured ones */
    nanoseconds due = flying[heard % FLYING].due;
    run.delivered++;
    record(&each, at - due);
    if (--flying[heard % FLYING].left == 0) {
        record(&last, at - due);
        run.flying--;
        run.ended = at;
    }
}

/* All messages in these bytes. Those of one frame are of one length, mostly: look where the next one should be first.
 */
static int hear(Connection *connection, const uint8_t *data, size_t size, nanoseconds at) {
    const uint8_t *end = data + size, *mark = memmem(data, size, MARK, MARK_SIZE);
    int count = 0;
    while (mark && end - mark >= MARKED) {
        count++;
        if (connection->part == &plan.reader) hear_one(connection, mark, at);
        static ptrdiff_t stride = MARKED;
        const uint8_t *guess = mark + stride;
        if (end - guess < MARKED || memcmp(guess, MARK, MARK_SIZE)) {
            guess = memmem(mark + MARKED, end - mark - MARKED, MARK, MARK_SIZE);
            if (guess) stride = guess - mark;
        }
        mark = guess;
    }
    return count;
}

static void acknowledge(Connection *connection) {
    char text[64];
    connection->answered = connection->frames;
    send_frame(connection, 1, text, sprintf(text, "[[\"live.ack\",{\"frames\":%u}]]", connection->frames));
}

static void follow_steps(Connection *connection, const uint8_t *data, size_t size) {
    const Part *part = connection->part;
    const Step *step = &part->steps[connection->step];
    if (*step->expect && !memmem(data, size, step->expect, strlen(step->expect))) return;
    connection->step++;
    if (*step->say) say(connection, step->say);
    while (connection->step < part->count && !*part->steps[connection->step].expect)
        say(connection, part->steps[connection->step++].say);
    step_on(connection);
}

static void take_text(Connection *connection, const uint8_t *data, size_t size, nanoseconds at) {
    run.frames += connection->part == &plan.reader;
    if (size == 2 && !memcmp(data, "[]", 2)) { /* a heartbeat of ours, and one of engine.io */
        send_frame(connection, 1, "[]", 2);
        return;
    }
    if (size == 1 && *data == '2') {
        send_frame(connection, 1, "3", 1);
        return;
    }
    if (connection->state == TALKING) follow_steps(connection, data, size);
    int heard = hear(connection, data, size, at);
    if (plan.acknowledge && connection->part == &plan.reader) {
        connection->frames += heard || (size > 8 && memcmp(data, "[[\"live.", 8));
        if (connection->frames - connection->answered >= (uint32_t)plan.acknowledge) acknowledge(connection);
    }
}

/* Each of these takes what is complete, and gives how many bytes that was. */

static size_t take_frames(Connection *connection, uint8_t *data, size_t size, nanoseconds at) {
    size_t done = 0;
    while (size - done >= 2 && connection->state != DEAD) {
        uint8_t *frame = data + done;
        size_t head = 2, length = frame[1] & 127;
        if (length == 126) {
            head = 4;
            if (size - done < head) break;
            length = frame[2] << 8 | frame[3];
        } else if (length == 127) {
            head = 10;
            if (size - done < head) break;
            length = 0;
            for (int byte = 2; byte < 10; byte++) length = length << 8 | frame[byte];
        }
        if (length > BUFFER / 2) give_up("a frame of %zu bytes", length);
        if (size - done < head + length) break;
        int opcode = frame[0] & 15;
        if (opcode == 8) {
            fprintf(stderr, "closed: %.*s\n", length > 2 ? (int)length - 2 : 0, frame + head + 2);
            bury(connection);
        } else if (opcode == 9)
            send_frame(connection, 10, frame + head, length);
        else if (opcode < 3)
            take_text(connection, frame + head, length, at);
        done += head + length;
    }
    return done;
}

static size_t take_lines(Connection *connection, uint8_t *data, size_t size, nanoseconds at) {
    uint8_t *end = memrchr(data, '\n', size);
    if (!end) return 0;
    size_t done = end + 1 - data;
    run.frames++;
    if (connection->state == TALKING) follow_steps(connection, data, done);
    hear(connection, data, done, at);
    return done;
}

static size_t take_answer(Connection *connection, uint8_t *data, size_t size, nanoseconds at) {
    static char path[1 << 12];
    uint8_t *body = memmem(data, size, "\r\n\r\n", 4);
    if (!body) return 0;
    body += 4;
    const char *length = strcasestr((char *)data, "\r\ncontent-length:");
    if (memcmp(data, "HTTP/1.1 200", 12) || !length) {
        fprintf(stderr, "refused: %.*s\n", (int)(size < 400 ? size : 400), data);
        bury(connection);
        return size;
    }
    size_t whole = body - data + atol(length + 17);
    if (size < whole) return 0;
    run.frames++;
    hear(connection, body, data + whole - body, at);
    char *cursor = memmem(body, data + whole - body, "\"cursor\":\"", 10);
    if (!cursor) give_up("an answer without a cursor: %.200s", body);
    snprintf(path, sizeof path, "%s%.*s", plan.again, (int)strcspn(cursor + 10, "\""), cursor + 10);
    request(connection, path);
    if (connection->state == UPGRADING) step_on(connection);
    return whole;
}

static size_t take_handshake(Connection *connection, uint8_t *data, size_t size) {
    uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(data, connection->transport == WS ? "HTTP/1.1 101" : "HTTP/1.1 200", 12)) {
        fprintf(stderr, "refused: %.*s\n", (int)(size < 400 ? size : 400), data);
        bury(connection);
        return size;
    }
    const Part *part = connection->part;
    while (connection->step < part->count && !*part->steps[connection->step].expect)
        say(connection, part->steps[connection->step++].say);
    step_on(connection);
    return end + 4 - data;
}

static size_t take(Connection *connection, uint8_t *data, size_t size, nanoseconds at) {
    if (connection->transport == POLL) return take_answer(connection, data, size, at);
    size_t done = 0;
    if (connection->state == UPGRADING) {
        done = take_handshake(connection, data, size);
        if (!done || connection->state == DEAD) return done;
    }
    return done + (connection->transport == WS ? take_frames : take_lines)(connection, data + done, size - done, at);
}

static void read_from(Connection *connection) {
    size_t before = connection->rest_size;
    if (before) memcpy(buffer, connection->rest, before);
    ssize_t taken = recv(connection->fd, buffer + before, BUFFER - before - 1, 0);
    if (taken <= 0) {
        if (taken < 0 && errno == EAGAIN) return;
        if (connection->state != READY) fprintf(stderr, "hung up: %s\n", taken ? strerror(errno) : "without a word");
        bury(connection);
        return;
    }
    run.reads++;
    run.bytes += taken;
    size_t size = before + taken;
    buffer[size] = 0;
    size_t done = take(connection, buffer, size, now());
    if (connection->state == DEAD) return;
    free(connection->rest);
    connection->rest = NULL;
    connection->rest_size = size - done;
    if (connection->rest_size) {
        connection->rest = malloc(connection->rest_size);
        memcpy(connection->rest, buffer + done, connection->rest_size);
    }
}

/* One round of the loop; gives whether there is a line on standard input. */
static bool turn(int milliseconds) {
    struct epoll_event events[256];
    int count = epoll_wait(loop, events, 256, milliseconds);
    bool told = false;
    for (int event = 0; event < count; event++) {
        if (events[event].data.u32 == UINT32_MAX) {
            told = true;
            continue;
        }
        Connection *connection = &connections[events[event].data.u32];
        if (connection->state == CONNECTING) {
            int error = 0;
            getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
            if (error) {
                fprintf(stderr, "cannot connect: %s\n", strerror(error));
                bury(connection);
                continue;
            }
            connection->state = UPGRADING;
            watch(connection, EPOLL_CTL_MOD, EPOLLIN);
            request(connection, connection->part->path);
        } else if (connection->state != DEAD)
            read_from(connection);
    }
    return told;
}

/* --- what standard input asks for */

static void come(void) {
    nanoseconds began = now(), moved = began;
    int before = 0;
    while (ready + dead < all && now() - moved < (nanoseconds)STALL * SECOND) {
        while (next < all && opening < AT_ONCE) open_connection(&connections[(next++ + plan.readers) % all]);
        turn(100);
        if (ready + dead != before) before = ready + dead, moved = now();
    }
    printf("{\"ready\": %d, \"dead\": %d, \"waiting\": %d, \"seconds\": %.4f}\n", ready, dead, all - ready - dead,
           (now() - began) / 1e9);
}

static double own_cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* WINDOW or RATE is 0. What is in flight at the end is waited for, unless nothing comes any more. */
static void perform(double seconds, int window, double rate) {
    memset(&run, 0, sizeof run);
    memset(&each, 0, sizeof each);
    memset(&last, 0, sizeof last);
    if (window >= FLYING) give_up("at most %d in flight", FLYING - 1);
    run.first = number;
    int died = dead;
    double cpu = own_cpu();
    nanoseconds began = now(), end = began + seconds * SECOND, due = began, moved = began;
    uint64_t before = 0;
    run.began = run.ended = began;
    for (;;) {
        nanoseconds time = now();
        bool over = time >= end;
        if (window)
            while (!over && run.flying < window) speak(now());
        else
            while (due <= time && due < end && run.flying < FLYING - 1) speak(due), due += SECOND / rate;
        if ((window ? over : due >= end) && !run.flying) break;
        int wait = 100;
        if (!window && due < end) wait = due <= time ? 0 : (due - time) / 1000000; /* and then spin for what is left */
        turn(wait);
        if (run.delivered != before) before = run.delivered, moved = time;
        if (dead > died || time - moved > (nanoseconds)STALL * SECOND) break;
    }
    uint64_t expected = 0;
    for (int64_t each = run.first; each < number; each++) expected += listening[each % plan.rooms];
    double elapsed = ((window && run.delivered ? run.ended : now()) - run.began) / 1e9;
    printf("{\"sent\": %lu, \"delivered\": %lu, \"missing\": %ld, \"disorder\": %lu, \"died\": %d, \"seconds\": %.4f, "
           "\"frames\": %lu, \"reads\": %lu, \"bytes\": %lu, \"busy\": %.3f",
           run.sent, run.delivered, (int64_t)(expected - run.delivered), run.disorder, dead - died, elapsed, run.frames,
           run.reads, run.bytes, (own_cpu() - cpu) / elapsed);
    print_histogram("each", &each);
    print_histogram("last", &last);
    printf("}\n");
}

static void rest(double seconds) {
    nanoseconds end = now() + seconds * SECOND;
    while (now() < end) turn(50);
    printf("{\"ready\": %d, \"dead\": %d}\n", ready, dead);
}

static void stop(int count) {
    for (int reader = 0; reader < count && reader < plan.readers; reader++) {
        if (connections[reader].stopped || connections[reader].state != READY) continue;
        watch(&connections[reader], EPOLL_CTL_DEL, 0);
        connections[reader].stopped = true;
        listening[connections[reader].room]--;
    }
    printf("{\"stopped\": %d}\n", count);
}

static bool has_caught_up(const Connection *reader) {
    int64_t newest = number - 1 - (number - 1 - reader->room) % plan.rooms; /* of its room */
    return reader->heard >= newest;
}

static void resume(void) {
    int stopped = 0, behind = 0, died = dead;
    run.disorder = 0;
    for (int reader = 0; reader < plan.readers; reader++)
        if (connections[reader].stopped) stopped++, watch(&connections[reader], EPOLL_CTL_ADD, EPOLLIN);
    nanoseconds began = now(), moved = began;
    uint64_t before = run.bytes;
    do {
        turn(100);
        behind = 0;
        for (int reader = 0; reader < plan.readers; reader++)
            behind += connections[reader].stopped && connections[reader].state == READY &&
                      !has_caught_up(&connections[reader]);
        if (run.bytes != before) before = run.bytes, moved = now();
    } while (behind && now() - moved < (nanoseconds)STALL * SECOND);
    for (int reader = 0; reader < plan.readers; reader++) {
        if (!connections[reader].stopped) continue;
        connections[reader].stopped = false;
        listening[connections[reader].room]++;
    }
    printf("{\"resumed\": %d, \"behind\": %d, \"died\": %d, \"disorder\": %lu, \"seconds\": %.4f}\n", stopped, behind,
           dead - died, run.disorder, (now() - began) / 1e9);
}

static bool obey(char *line) {
    double first = 0, second = 0;
    char word[16] = "";
    sscanf(line, "%15s %lf %lf", word, &first, &second);
    if (!strcmp(word, "flood")) perform(first, second, 0);
    else if (!strcmp(word, "pace")) perform(first, 0, second);
    else if (!strcmp(word, "rest")) rest(first);
    else if (!strcmp(word, "stop")) stop(first);
    else if (!strcmp(word, "resume")) resume();
    else return false;
    return true;
}

/* --- starting */

static void read_own_headers(const char *file) {
    FILE *lines = fopen(file, "r");
    if (!lines) give_up("%s: %s", file, strerror(errno));
    char *line = NULL;
    size_t room_for = 0;
    while (getline(&line, &room_for, lines) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        plan.own = realloc(plan.own, sizeof *plan.own * (plan.own_count + 1));
        plan.own[plan.own_count++] = strdup(line);
    }
    fclose(lines);
}

static void add_step(Part *part, const char *expect, const char *say) {
    if (part->count == STEPS) give_up("more than %d steps", STEPS);
    part->steps[part->count++] = (Step){expect, say};
}

static void read_arguments(char **words) {
    for (char **at = words + 1; *at; at++) {
        const char *name = *at;
        if (!at[1]) give_up("%s: nothing follows", name);
        const char *value = *++at;
        if (!strcmp(name, "--port")) plan.port = atoi(value);
        else if (!strcmp(name, "--speaker-port")) plan.speaker_port = atoi(value); /* by itself the readers' */
        else if (!strcmp(name, "--readers")) plan.readers = atoi(value);
        else if (!strcmp(name, "--rooms")) plan.rooms = atoi(value);
        else if (!strcmp(name, "--size")) plan.size = atoi(value);
        else if (!strcmp(name, "--acknowledge")) plan.acknowledge = atoi(value); /* after so many frames */
        else if (!strcmp(name, "--narrow")) plan.narrow = atoi(value);
        else if (!strcmp(name, "--message")) plan.message = value;
        else if (!strcmp(name, "--path")) plan.reader.path = value;
        else if (!strcmp(name, "--again")) plan.again = value; /* of the next poll; the cursor is added to it */
        else if (!strcmp(name, "--speaker-path")) plan.speaker.path = value;
        else if (!strcmp(name, "--headers")) read_own_headers(value);
        else if (!strcmp(name, "--transport"))
            plan.transport = !strcmp(value, "sse") ? SSE : !strcmp(value, "poll") ? POLL : WS;
        else if (!strcmp(name, "--header") && plan.header_count < HEADERS) plan.headers[plan.header_count++] = value;
        else if (!strcmp(name, "--step") && at[1]) add_step(&plan.reader, value, *++at);
        else if (!strcmp(name, "--speaker-step") && at[1]) add_step(&plan.speaker, value, *++at);
        else give_up("what is %s?", name);
    }
    if (!plan.speaker.path) plan.speaker.path = plan.reader.path;
}

int main(int count, char **words) {
    (void)count;
    read_arguments(words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setvbuf(stdout, NULL, _IOLBF, 0);
    loop = epoll_create1(0);
    all = plan.readers + 1;
    connections = calloc(all, sizeof *connections);
    listening = calloc(plan.rooms, sizeof *listening);
    for (int each = 0; each < all; each++) {
        bool speaks = each == plan.readers;
        Connection *connection = &connections[each];
        connection->part = speaks ? &plan.speaker : &plan.reader;
        connection->transport = speaks ? WS : plan.transport;
        connection->heard = -1;
        if (!speaks) listening[connection->room = each % plan.rooms]++;
    }
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    come();
    char line[128];
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;)
        if (turn(1000) && (!fgets(line, sizeof line, stdin) || !obey(line))) return 0;
}
