/*
 * Tempo, beats and key by the Queen Mary DSP library, driven as Mixxx drives it: detection function (complex
 * spectral difference), TempoTrackV2, GetKeyMode with the most frequent key as the answer. Reads 44.1 kHz mono
 * 32-bit float PCM from stdin, prints one line of JSON.
 *
 *   g++ -O2 -I/usr/include/qm-dsp -o qm qm.cpp -lqm-dsp
 */
#include "dsp/keydetection/GetKeyMode.h"
#include "dsp/onsets/DetectionFunction.h"
#include "dsp/tempotracking/TempoTrackV2.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  const double rate = 44100;
  std::vector<double> samples;
  float block[4096];
  size_t got;
  while ((got = fread(block, sizeof(float), 4096, stdin)) > 0) samples.insert(samples.end(), block, block + got);

  const double stepSeconds = 0.01161;
  const int step = int(std::floor(rate * stepSeconds + 0.0001));
  int window = 1;
  while (window < rate / 50) window *= 2;
  DFConfig config;
  config.DFType = DF_COMPLEXSD;
  config.stepSize = step;
  config.frameLength = window;
  config.dbRise = 3;
  config.adaptiveWhitening = false;
  config.whiteningRelaxCoeff = -1;
  config.whiteningFloor = -1;
  DetectionFunction detection(config);
  std::vector<double> onsets;
  for (size_t at = 0; at + window <= samples.size(); at += step)
    onsets.push_back(detection.processTimeDomain(&samples[at]));
  size_t end = onsets.size();
  while (end > 0 && onsets[end - 1] <= 0.0) end--;
  std::vector<double> df, period, tempi;
  for (size_t i = 2; i < end; i++) df.push_back(onsets[i]);
  period.assign(df.size(), 0.0);
  std::vector<double> beats;
  if (df.size() > 128) {
    TempoTrackV2 tracker(float(rate), step);
    tracker.calculateBeatPeriod(df, period, tempi);
    tracker.calculateBeats(df, period, beats);
  }

  GetKeyMode key(int(rate), 440.0f, 10, 10);
  const int keyWindow = key.getBlockSize();
  const int keyHop = key.getHopSize();
  std::vector<double> frames(25, 0.0);
  for (size_t at = 0; at + keyWindow <= samples.size(); at += keyHop) {
    int found = key.process(&samples[at]);
    if (found >= 1 && found <= 24) frames[found] += 1;
  }
  const int best = int(std::max_element(frames.begin() + 1, frames.end()) - frames.begin());

  printf("{\"key\":%d,\"beats\":[", frames[best] > 0 ? best : 0);
  for (size_t i = 0; i < beats.size(); i++)
    printf("%s%.5f", i ? "," : "", (beats[i] + 2) * step / rate + window / rate / 2);
  printf("]}\n");
  return 0;
}
