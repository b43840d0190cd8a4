"""Tempo and key as the application's analysis 2.0.0 took them from librosa: tempo by autocorrelation of the onset
strength with octave folding into 60 to 200, beats by librosa's tracker at that tempo, key the strongest chroma bin
with the mode by comparing the thirds. Prints one line of JSON a file."""
import json
import sys

import librosa
import numpy as np

NAMES = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']

for path in sys.stdin.read().splitlines():
    y, sr = librosa.load(path, sr=22050, mono=True)
    onset = librosa.onset.onset_strength(y=y, sr=sr)
    bpm = float(np.atleast_1d(librosa.feature.tempo(onset_envelope=onset, sr=sr))[0])
    while bpm < 60:
        bpm *= 2
    while bpm > 200:
        bpm /= 2
    _, beats = librosa.beat.beat_track(onset_envelope=onset, sr=sr, bpm=bpm, units='time')
    chroma = librosa.feature.chroma_stft(y=y, sr=sr).mean(axis=1)
    tonic = int(np.argmax(chroma))
    minor = chroma[(tonic + 3) % 12] > chroma[(tonic + 4) % 12]
    print(json.dumps({'bpm': bpm, 'beats': [float(b) for b in beats], 'key': NAMES[tonic] + ('m' if minor else '')}), flush=True)
