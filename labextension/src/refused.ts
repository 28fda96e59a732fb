/** A request that the server or kernel refused; its message is for people. status: as of HTTP. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    message: string
  ) {
    super(message);
  }
}
