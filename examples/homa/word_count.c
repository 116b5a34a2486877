/* Counts words at a server, in C.
 *   word_count serve 127.0.0.1:9162      prints "serving"
 *   word_count 127.0.0.1:9162 "some words to count" */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <godwit/homa.h>

enum { PORT = 8 };

static int serve(const char *at) {
  static char text[HOMA_MAX_MESSAGE_LENGTH];
  struct homa *homa = homa_open(at, PORT);
  if (homa == NULL) return perror(at), 1;
  puts("serving");
  fflush(stdout);
  for (;;) {
    uint64_t id = 0;
    ssize_t length = homa_recv(homa, text, sizeof text, HOMA_RECV_REQUEST, -1, NULL, &id, NULL, NULL);
    if (length < 0) continue;
    int words = 0, inside = 0;
    for (ssize_t i = 0; i < length; ++i) {
      int is_space = isspace((unsigned char)text[i]) != 0;
      words += !inside && !is_space;
      inside = !is_space;
    }
    char answer[32];
    int size = snprintf(answer, sizeof answer, "%d", words);
    homa_reply(homa, answer, (size_t)size, id);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: word_count serve HOST:PORT | word_count HOST:PORT TEXT\n"), 2;
  if (strcmp(argv[1], "serve") == 0) return serve(argv[2]);
  struct homa_address server;
  struct homa *homa = homa_open(NULL, 0);
  uint64_t id = 0;
  char answer[32];
  if (homa == NULL || homa_resolve(argv[1], PORT, &server) != 0) return perror(argv[1]), 1;
  if (homa_send(homa, argv[2], strlen(argv[2]), &server, &id, 0) != 0) return perror("send"), 1;
  ssize_t length = homa_recv(homa, answer, sizeof answer, 0, 2000, NULL, &id, NULL, NULL);
  if (length < 0) return perror("receive"), 1;
  printf("%.*s words\n", (int)length, answer);
  homa_close(homa);
  return 0;
}
