/* Publishes an FLV file in real time through librtmp: librtmp-publisher URL FILE [OFFSET_MS [prove]]
 *
 * With "prove" it pretends to be a Flash player that can prove which program it plays: it sends a
 * digest in its handshake, and checks the server's. */
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static int fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    return 1;
}

int main(int count, char **arguments) {
    if (count < 3)
        return fail("usage: librtmp-publisher URL FILE [OFFSET_MS [prove]]");
    uint32_t offset = count > 3 ? (uint32_t)strtoul(arguments[3], NULL, 0) : 0;
    FILE *file = fopen(arguments[2], "rb");
    if (!file || fseek(file, 9 + 4, SEEK_SET) != 0)
        return fail("the file cannot be read");

    RTMP_LogSetLevel(RTMP_LOGWARNING);
    RTMP *rtmp = RTMP_Alloc();
    RTMP_Init(rtmp);
    if (!RTMP_SetupURL(rtmp, arguments[1]))
        return fail("the URL cannot be used");
    if (count > 4) {
        rtmp->Link.SWFSize = 1000;
        memset(rtmp->Link.SWFHash, 0x5A, RTMP_SWF_HASHLEN);
    }
    RTMP_EnableWrite(rtmp);
    if (!RTMP_Connect(rtmp, NULL))
        return fail("cannot connect");
    if (!RTMP_ConnectStream(rtmp, 0))
        return fail("cannot publish");
    fprintf(stderr, "publishing\n");

    long start = now_ms();
    uint8_t header[11];
    while (fread(header, 1, sizeof header, file) == sizeof header) {
        size_t size = (size_t)header[1] << 16 | header[2] << 8 | header[3];
        uint32_t time = (uint32_t)header[7] << 24 | header[4] << 16 | header[5] << 8 | header[6];
        uint8_t *tag = malloc(sizeof header + size + 4);
        if (!tag || fread(tag + sizeof header, 1, size + 4, file) != size + 4)
            return fail("the file ends within a tag");
        long wait = (long)time - (now_ms() - start);
        if (wait > 0) {
            struct timespec pause = {wait / 1000, wait % 1000 * 1000000L};
            nanosleep(&pause, NULL);
        }
        uint32_t sent = time + offset;
        for (size_t at = 0; at < sizeof header; at++)
            tag[at] = header[at];
        tag[4] = sent >> 16 & 0xFF;
        tag[5] = sent >> 8 & 0xFF;
        tag[6] = sent & 0xFF;
        tag[7] = sent >> 24 & 0xFF;
        if (RTMP_Write(rtmp, (char *)tag, (int)(sizeof header + size + 4)) <= 0)
            return fail("the server does not take it");
        free(tag);
    }
    RTMP_Close(rtmp);
    RTMP_Free(rtmp);
    return 0;
}
