# A grant that ends takes the other claims on its keys along.
set(FROM [[
    (keep ? it->second.keep : it->second.cut).erase({grant.deadline, &grant});]])
set(TO [[
    if (it == claims_.end()) continue;
    (keep ? it->second.keep : it->second.cut).clear();]])
