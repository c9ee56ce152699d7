/**
 * Makes `instanceof` hold for what the other form of this package has made, too. A process may have loaded it as ESM and as CommonJS, each with a class of its own; an error of the one
 * must be known where the other one is imported.
 */
export function isOfEitherForm(name: string, type: Function): void {
  const mark = Symbol.for(`cbrgateway.${name}`);
  const isMarked = (value: unknown) => typeof value === "object" && value !== null && mark in value;
  Object.defineProperty(type.prototype, mark, { value: true });
  Object.defineProperty(type, Symbol.hasInstance, {
    value(this: Function, value: unknown): boolean {
      return this === type ? isMarked(value) : Function.prototype[Symbol.hasInstance].call(this, value); // The latter for classes that extend it.
    },
  });
}
