"""What the commands do, as typed calls: settings in, a result out, progress told on the way.

    training     train       a data set to a run folder
    distilling   distill     a run and its data set to the run folder of a student
    predicting   predict     a run and images to results
    evaluating   evaluate    a run and a labelled data set to metrics
    checking     check       what is in a data set, and what is wrong with it
    execution    Execution   how a job is carried out, and who is told

Errors name arguments and fields of settings; the command line says them as options.
"""
