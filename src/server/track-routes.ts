/** Tracks as JSON: one, a page, a search, the library in numbers. */
import {
  type Api,
  type ApiOptions,
  failures,
  invalid,
  Refusal,
  ref,
  trackNotFound,
  tracksPath,
  unavailable,
} from './answers.ts'
import { isTrue, ListQuery, SearchQuery, SpotifyId, TrackId } from './schemas.ts'

export function trackRoutes(app: Api, { reader }: ApiOptions): void {
  app.get(
    `${tracksPath}/`,
    {
      schema: {
        operationId: 'listTracks',
        summary: 'Tracks, newest first',
        tags: ['tracks'],
        querystring: ListQuery,
        response: {
          200: { type: 'array', description: 'A page of tracks', items: { $ref: 'TrackSummary#' } },
          ...invalid,
          ...failures,
          ...unavailable,
        },
      },
    },
    request => {
      const { skip, limit, has_analysis, has_file } = request.query
      return reader.list({ skip, limit, hasAnalysis: isTrue(has_analysis), hasFile: isTrue(has_file) })
    },
  )

  app.get(
    `${tracksPath}/search/`,
    {
      schema: {
        operationId: 'searchTracks',
        summary: 'Tracks by title or artist',
        tags: ['tracks'],
        querystring: SearchQuery,
        response: {
          200: { type: 'array', description: 'Tracks found', items: { $ref: 'TrackSummary#' } },
          400: ref('Problem', 'Too little to search for'),
          ...invalid,
          ...failures,
          ...unavailable,
        },
      },
    },
    request => {
      const text = request.query.q.trim()
      if ([...text].length < 2 || text.includes('\0'))
        throw new Refusal(400, 'Search query must be at least 2 characters', 'search-too-short')
      return reader.search(text, request.query.limit)
    },
  )

  app.get(
    `${tracksPath}/stats/`,
    {
      schema: {
        operationId: 'getStats',
        summary: 'The library in numbers',
        tags: ['tracks'],
        response: { 200: ref('Stats', 'Counts'), ...failures, ...unavailable },
      },
    },
    () => reader.stats(),
  )

  const oneTrack = {
    200: ref('Track', 'The track'),
    404: ref('Problem', 'No such track'),
    ...invalid,
    ...failures,
    ...unavailable,
  }
  app.get(
    `${tracksPath}/spotify/:spotify_id`,
    {
      schema: {
        operationId: 'getTrackBySpotifyId',
        summary: 'A track by its Spotify id',
        tags: ['tracks'],
        params: SpotifyId,
        response: oneTrack,
      },
    },
    async request => (await reader.bySpotifyId(request.params.spotify_id)) ?? Promise.reject(trackNotFound()),
  )
  app.get(
    `${tracksPath}/:id`,
    {
      schema: {
        operationId: 'getTrack',
        summary: 'A track with its whole analysis',
        tags: ['tracks'],
        params: TrackId,
        response: oneTrack,
      },
    },
    async request => (await reader.byId(request.params.id)) ?? Promise.reject(trackNotFound()),
  )
}
