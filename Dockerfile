# syntax=docker/dockerfile:1
# autodj with ffmpeg, as a user without rights; runs with a read-only root: only /tmp (and what is mounted) is written.
#   docker build -t autodj .
#   docker build -t autodj --build-arg OMIT="--omit=dev --omit=optional" .   without the embedded database and the report

# Debian's own ffmpeg brings 200 packages and 480 MB of screens, cameras and films. This is its source with Debian's
# patches, built for sound alone: the containers and codecs that autodj knows, no network, one file of 6 MB.
FROM node:24-bookworm-slim AS ffmpeg
WORKDIR /ffmpeg
# Not pinned: rebuilding the image is how it gets Debian's security fixes.
# hadolint ignore=DL3008,DL3003
RUN . /etc/os-release \
  && sed -n 's/^Types: deb$/Types: deb-src/; p' /etc/apt/sources.list.d/debian.sources > /etc/apt/sources.list.d/src.sources \
  && apt-get update \
  && apt-get install -y --no-install-recommends dpkg-dev gcc libc6-dev make nasm pkg-config \
    libmp3lame-dev libopus-dev libvorbis-dev \
  && apt-get source ffmpeg \
  && mv ffmpeg-*/ source \
  && cd source \
  && ./configure --disable-everything --disable-autodetect --disable-doc --disable-debug --disable-network \
    --disable-ffplay --disable-ffprobe --disable-avdevice --disable-swscale --disable-postproc \
    --extra-ldflags=-static --pkg-config-flags=--static \
    --enable-libmp3lame --enable-libopus --enable-libvorbis \
    --enable-protocol=file,pipe,subfile \
    --enable-demuxer='aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,caf,dsf,dts,dtshd,eac3,flac,iff,matroska,mov,mp3,mpc,mpc8,ogg,spdif,tak,tta,w64,wav,wv' \
    --enable-decoder='aac*,ac3*,adpcm_*,alac,als,amrnb,amrwb,ape,cook,dca,dsd_*,dst,eac3,flac,gsm,gsm_ms,ilbc,mace*,mlp,mp1*,mp2*,mp3*,mpc*,opus,pcm_*,qcelp,qdm2,ra_*,sipr,speex,tak,truehd,tta,vorbis,wavpack,wma*' \
    --enable-parser='aac,aac_latm,ac3,amr,cook,dca,flac,gsm,mlp,mpegaudio,opus,sipr,tak,vorbis' \
    --enable-encoder='aac,flac,libmp3lame,libopus,libvorbis,pcm_f32le,pcm_s16le,pcm_s24be,pcm_s24le' \
    --enable-muxer='aiff,flac,ipod,mp3,null,ogg,opus,wav' \
    --enable-bsf=aac_adtstoasc \
    --enable-filter='aformat,anull,aresample,atrim,loudnorm,volume' \
  && make -j"$(nproc)" ffmpeg \
  && strip ffmpeg \
  && mv ffmpeg /ffmpeg/

FROM node:24-bookworm-slim AS build
ARG OMIT="--omit=dev"
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
# Several words on purpose.
# hadolint ignore=SC2086
RUN npm run build \
  && npm prune --ignore-scripts $OMIT

FROM node:24-bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /opt/yarn* \
  && mkdir /audio /work \
  && chown node:node /audio /work
WORKDIR /app
COPY --from=ffmpeg /ffmpeg/ffmpeg /usr/local/bin/
COPY --from=build /src/package.json /src/LICENSE /src/CHANGELOG.md ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/assets ./assets
# Git may not have kept its mode, and npm, which makes it executable, is not asked here.
COPY --chmod=755 --from=build /src/bin ./bin
COPY --from=build /src/dist ./dist
COPY --chmod=644 packaging/docker-health.js ./
RUN ln -s /app/bin/autodj.js /usr/local/bin/autodj

# node of the base image, by number, so that Kubernetes can tell that it is not root.
USER 1000:1000
# Settings, plans and reports of the run: a volume, or autodj.env mounted read-only.
WORKDIR /work
ENV NODE_ENV=production AUDIO_ROOT=/audio
VOLUME ["/audio", "/work"]
EXPOSE 8000
# tini passes SIGTERM on and buries ffmpeg's dead: autodj finishes what it has in hand.
ENTRYPOINT ["/usr/bin/tini", "--", "autodj"]
CMD ["--help"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["node", "/app/docker-health.js"]
