# syntax=docker/dockerfile:1
# autodj with ffmpeg, as a user without rights; runs with a read-only root: only /tmp (and what is mounted) is written.
#   docker build -t autodj .
#   docker build -t autodj --build-arg OMIT="--omit=dev --omit=optional" .   without the embedded database and the report

FROM node:24-alpine AS build
ARG OMIT="--omit=dev"
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
# Several words on purpose.
# hadolint ignore=SC2086
RUN npm run build \
  && npm prune --ignore-scripts $OMIT

FROM node:24-alpine
# The version is the one of the base image's Alpine: pinning it would only break the build when Alpine mends ffmpeg.
# hadolint ignore=DL3018
RUN apk add --no-cache ffmpeg tini \
  && rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /opt/yarn* \
  && mkdir /audio /work \
  && chown node:node /audio /work
WORKDIR /app
COPY --from=build /src/package.json /src/LICENSE /src/CHANGELOG.md ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/assets ./assets
COPY --from=build /src/bin ./bin
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
ENTRYPOINT ["/sbin/tini", "--", "autodj"]
CMD ["--help"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["node", "/app/docker-health.js"]
