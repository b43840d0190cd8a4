/*
 * Plays a tracker module by libopenmpt: a WAVE file (44.1 kHz, 16 bits, stereo) and, a line each, when its rows begin:
 * seconds, row in its pattern, rows of the pattern.
 *
 *   cc -O2 -o module-rows module-rows.c -lopenmpt
 *   module-rows MODULE WAVE ROWS SECONDS
 */
#include <libopenmpt/libopenmpt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { rate = 44100, block = 32 };

static void quiet(const char *message, void *user) {
  (void)message;
  (void)user;
}

static void little(FILE *out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; i++) fputc((int)(value >> (8 * i) & 255), out);
}

static void header(FILE *out, uint32_t data) {
  fwrite("RIFF", 1, 4, out);
  little(out, 36 + data, 4);
  fwrite("WAVEfmt ", 1, 8, out);
  little(out, 16, 4);
  little(out, 1, 2);
  little(out, 2, 2);
  little(out, rate, 4);
  little(out, 4 * rate, 4);
  little(out, 4, 2);
  little(out, 16, 2);
  fwrite("data", 1, 4, out);
  little(out, data, 4);
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  FILE *in = fopen(arguments[1], "rb");
  if (!in) return 1;
  fseek(in, 0, SEEK_END);
  long size = ftell(in);
  rewind(in);
  void *file = malloc((size_t)size);
  if (!file || fread(file, 1, (size_t)size, in) != (size_t)size) return 1;
  openmpt_module *module =
      openmpt_module_create_from_memory2(file, (size_t)size, quiet, 0, 0, 0, 0, 0, 0);
  if (!module) return 1;
  FILE *sound = fopen(arguments[2], "wb");
  FILE *rows = fopen(arguments[3], "w");
  if (!sound || !rows) return 1;
  long frames = (long)(atof(arguments[4]) * rate);
  header(sound, 0);
  long at = 0;
  int order = -1, row = -1;
  int16_t buffer[2 * block];
  while (at < frames) {
    size_t got = openmpt_module_read_interleaved_stereo(module, rate, block, buffer);
    if (got == 0) break;
    int order_now = openmpt_module_get_current_order(module);
    int row_now = openmpt_module_get_current_row(module);
    if (order_now != order || row_now != row) {
      int pattern = openmpt_module_get_current_pattern(module);
      fprintf(rows, "%.4f %d %d\n", (double)at / rate, row_now,
              openmpt_module_get_pattern_num_rows(module, pattern));
      order = order_now;
      row = row_now;
    }
    fwrite(buffer, 4, got, sound);
    at += (long)got;
  }
  fseek(sound, 0, SEEK_SET);
  header(sound, (uint32_t)(4 * at));
  return fclose(sound) || fclose(rows);
}
