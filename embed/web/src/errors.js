// The errors that a user can meet; `name` tells them apart. A message says what is wrong, where, and how to mend it.

class GenError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** The request is wrong: an empty prompt, a seed that is none. */
export class RequestError extends GenError {}
/** The bundle is damaged, or is not what this package reads. */
export class BundleError extends GenError {}
/** The bundle asks for an operation, a tokenizer or an asset that this package does not have. */
export class UnsupportedError extends GenError {}
/** The networks made nothing, or numbers that are not finite. */
export class NothingMadeError extends GenError {}
