// BullMQ: bulk submits, jobs removed as they complete. The command line is that of counted.py.
import { Queue, Worker } from "bullmq";

const [action, url, text] = process.argv.slice(2);
const count = Number(text);
const connection = { url, maxRetriesPerRequest: null };

const clock = () => Number(process.hrtime.bigint()); // CLOCK_MONOTONIC, as Python's
const used = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const report = (first, last, cpu) =>
  console.log(JSON.stringify({ count, first_ns: first, last_ns: last, cpu }));

async function submit() {
  const queue = new Queue("peer", { connection, defaultJobOptions: { removeOnComplete: true } });
  const [first, cpu] = [clock(), used()];
  for (let n = 0; n < count; n += 1000) {
    const size = Math.min(1000, count - n);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: "noop", data: {} })));
  }
  report(first, clock(), used() - cpu);
  await queue.close();
}

function work() {
  let ran = 0;
  let first = 0;
  let cpu = 0;
  new Worker(
    "peer",
    async () => {
      ran += 1;
      if (ran === 1) [first, cpu] = [clock(), used()];
      if (ran === count) {
        report(first, clock(), used() - cpu);
        process.exit(0);
      }
    },
    { connection, concurrency: 100 },
  );
}

if (action === "submit") await submit();
else work();
