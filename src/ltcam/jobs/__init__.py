"""What the commands do, as typed calls: settings in, a result out, progress told on the way.

Jobs:

    training        train, quick    a data set to a run folder
    distilling      distill         a run and its data set to the run folder of a student
    predicting      predict         a run and images to results
    watch           watch           a run and a folder that images come into to results
    evaluating      evaluate        a run and a labelled data set to metrics
    checking        check           what is in a data set, and what is wrong with it
    verifying       verify          a run and its exported file on the same images, side by side
    import_reviews  import_reviews  what people said of inspections to a manifest to train with
    fitting         Classifier      images and labels from memory to inspections

How they are carried out:

    execution       Execution       where, and who is told
    bars            progress_bars   who is told in a notebook
    opening         open_inspector  a run or an exported file to an inspector
    models          load_model      the same for a service, with what it says of itself
    appending       append_whole    files that grow by whole lines

What trainings have in common:

    choosing        with_kinds      what is drawn of each kind of defect
    previewing      previewed       what a network would mark while it is trained
    validating      validate        what it says of the images that were held back
    trained         write_trained   the run folder

Errors name arguments and fields of settings; the command line says them as options.
"""
