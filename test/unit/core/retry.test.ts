import { describe, expect, test } from 'vitest'
import { CircuitBreaker, fullJitter } from '../../../src/core/retry.ts'

describe('the wait before another attempt', () => {
  test('is drawn from nothing up to a bound that doubles, until it stays', () => {
    expect([1, 2, 3, 4].map(attempt => fullJitter(attempt, 1))).toEqual([200, 400, 800, 1_600])
    expect(fullJitter(8, 1)).toBe(20_000)
    expect(fullJitter(1_000, 1)).toBe(20_000)
    expect([0, 0.25, 0.5, 1].map(random => fullJitter(2, random))).toEqual([0, 100, 200, 400])
    expect(fullJitter(1, 1, { base: 500, cap: 900 })).toBe(500)
    expect(fullJitter(2, 1, { base: 500, cap: 900 })).toBe(900)
    expect(fullJitter(1, 0.3333)).toBe(67)
  })
})

describe('the circuit breaker', () => {
  test('opens at the fifth failure in a row, once, and says for how long it has been', () => {
    const breaker = new CircuitBreaker()
    expect(breaker.openFor(1_000)).toBe(0)
    expect([1, 2, 3, 4].map(at => breaker.failed(at, at))).toEqual([false, false, false, false])
    expect(breaker.isOpen).toBe(false)
    expect(breaker.failed(5, 5)).toBe(true)
    expect(breaker.isOpen).toBe(true)
    expect(breaker.outages).toBe(1)
    expect(breaker.openFor(105)).toBe(100)
    expect(breaker.failed(6, 6)).toBe(false)
    expect(breaker.outages).toBe(1)
    expect(breaker.openFor(105)).toBe(100)
  })

  test('many first attempts that fail at once do not open it; one that is sent again does', () => {
    const breaker = new CircuitBreaker()
    for (let count = 0; count < 100; count++) expect(breaker.failed(0, 1)).toBe(false)
    expect(breaker.failed(1, 2)).toBe(true)
    breaker.succeeded()
    expect([1, 2, 3, 4].map(() => breaker.failed(2, 2))).toEqual([false, false, false, false])
  })

  test('a success between starts the count anew, and closes it', () => {
    const breaker = new CircuitBreaker()
    for (let at = 0; at < 4; at++) breaker.failed(at, 2)
    breaker.succeeded()
    for (let at = 0; at < 4; at++) expect(breaker.failed(at, 2)).toBe(false)
    expect(breaker.failed(9, 2)).toBe(true)
    breaker.succeeded()
    expect(breaker.isOpen).toBe(false)
    expect(breaker.openFor(100)).toBe(0)
    for (let at = 0; at < 4; at++) expect(breaker.failed(at, 2)).toBe(false)
    expect(breaker.failed(9, 2)).toBe(true)
    expect(breaker.outages).toBe(2)
  })
})
