// How long is waited: for one try, for a whole exchange. Whatever is waited for when the time is over is told so once; what comes after that is given back.
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';

export class Patience {
  /** Set once the time is over. */
  fault: PosternError | undefined;
  readonly #cancel: () => void;
  #tell: ((fault: PosternError) => void) | undefined;

  /** `over` is called when the time ends while nobody waits here. */
  constructor(o: { clock: Clock; ms: number; fault: () => PosternError; over: (fault: PosternError) => void }) {
    this.#cancel = o.clock.after(o.ms, () => {
      const fault = o.fault();
      this.fault = fault;
      if (this.#tell) this.#tell(fault);
      else o.over(fault);
    });
  }

  /** What `work` gives, unless the time is over before: then it rejects with the fault, and `late` gets what comes after all. */
  wait<T>(work: Promise<T>, late: (value: T) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (run: () => void): void => {
        this.#tell = undefined;
        run();
      };
      const tell = (fault: PosternError): void => settle(() => reject(fault));
      if (this.fault) reject(this.fault);
      else this.#tell = tell;
      work.then(
        (value) => (this.fault ? late(value) : settle(() => resolve(value))),
        (thrown: unknown) => settle(() => reject(thrown)),
      );
    });
  }

  end(): void {
    this.#cancel();
    this.#tell = undefined;
  }
}
