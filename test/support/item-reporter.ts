import { JsonReporter } from '../../src/report/json.ts'
import type { Item } from '../../src/report/reporter.ts'

/** Says nothing, and keeps the items that it is told of. */
export class ItemReporter extends JsonReporter {
  readonly items: Item[] = []

  constructor() {
    const stdout = { write: () => true }
    super({ stdout, stderr: stdout, quiet: true, verbose: false, now: () => 0 })
  }

  override item(item: Item): void {
    this.items.push(item)
  }
}
