// Calls Vercel's function with a request and a response of the kind that Vercel hands to it.
import { pathToFileURL } from 'node:url';

const { default: handler } = await import(pathToFileURL(process.argv[2]));
const response = {
  setHeader() {},
  status(code) {
    this.code = code;
    return this;
  },
  json(document) {
    process.stdout.write(`${this.code} ${JSON.stringify(document)}`);
  },
};
const { SENT } = process.env;
await handler({ headers: SENT ? { authorization: SENT } : {} }, response);
