-- Set aside a task whose envelope its worker cannot decode.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: worker  2: id  3: token of the delivery
-- RETURN: 1, or 0 if the worker does not hold it by this token
-- libs: base row place machine aside
-- flags: allow-oom

local worker, id, token = ARGV[1], ARGV[2], tonumber(ARGV[3])
local row = task(id)
if not row or row[STATE] ~= 'processing' or row[WORKER] ~= worker or row[DELIVERY] ~= token then
  return 0
end
local lane = row[LANE]
take_out(id, row)
count(lane, id, 'processing', 1) -- it stays counted where it was
tasks[id] = nil
set_aside(id, 'its envelope cannot be decoded', now, lane, 'processing')
write()
return 1
