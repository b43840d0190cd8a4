"""Tempo by TempoCNN as its package answers it (`tempo --interpolate`: model fcn; Schreiber and Müller, ISMIR 2018, and
MIREX 2018), a network learned from thousands of real tracks. Prints one line of JSON a file."""
import contextlib
import json
import os
import sys
import time

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

from tempocnn.classifier import TempoClassifier
from tempocnn.feature import read_features

# Keras draws its progress where the answers go.
nowhere = open(os.devnull, 'w')
with contextlib.redirect_stdout(nowhere):
    classifier = TempoClassifier('fcn')
for path in sys.stdin.read().splitlines():
    started = time.process_time()
    with contextlib.redirect_stdout(nowhere):
        bpm = classifier.estimate_tempo(read_features(path), interpolate=True)
    print(json.dumps({'bpm': float(bpm), 'cpuSeconds': time.process_time() - started}), flush=True)
